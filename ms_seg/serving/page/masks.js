// Masks as COCO writes them, and the map of which segment a pixel belongs to.

/** The run lengths in COCO's text: of pixels outside and inside in turn, down the columns, from the left. */
export function runLengths(text) {
  const runs = [];
  for (let at = 0; at < text.length;) {
    let value = 0, shift = 0, code;
    do {
      code = text.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16 && shift < 32) value |= -1 << shift;
    if (runs.length > 2) value += runs[runs.length - 2]; // what is written is the difference to the run before last
    runs.push(value);
  }
  return runs;
}

/** Paint a segment's number over the pixels of its mask, in a map (rows x columns) that is kept row by row. */
export function paint(map, width, height, segment, number) {
  let at = 0, inside = false;
  for (const run of runLengths(segment.segmentation.counts)) {
    if (inside) {
      let row = at % height, column = (at - row) / height;
      for (let left = run; left > 0; left--) {
        map[row * width + column] = number;
        if (++row === height) { row = 0; column++; }
      }
    }
    at += run;
    inside = !inside;
  }
}

/** For each pixel the place of its segment in the answer, from 1; 0 for none. An earlier segment hides later ones. */
export function segmentMap(answer, shown) {
  const { width, height, segments } = answer;
  const map = new Uint16Array(width * height);
  for (let place = segments.length - 1; place >= 0; place--)
    if (shown(segments[place])) paint(map, width, height, segments[place], place + 1);
  return map;
}
