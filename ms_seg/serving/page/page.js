// The page: asks the server for the segments of a picture, and colours them here.
import { segmentMap } from "./masks.js";

const MAX_PIXELS = 4_000_000, MAX_SIDE = 8192; // of the canvas; a larger picture is shown smaller
const MIN_SIDE = 700; // the long one; a smaller picture is magnified by a whole number
const $ = (id) => document.getElementById(id);
const view = $("view"), status = $("status"), legend = $("legend"), tip = $("tip");

let about;            // what the server says of itself
let file = null;      // the picture's file, a Blob
let name = "picture"; // its name without its ending, for downloads
let bitmap = null;    // the picture
let answer = null;    // what the server said of it
let map = null;       // see segmentMap
let hidden = new Set(); // classes that are switched off
let under = 0;        // the segment under the pointer, from 1
let asking = null;    // stops the request that is under way
let layers = null;    // canvases: the colours, and the borders
let taken = 0;        // pictures that were dropped or chosen

function say(text, bad = false) {
  status.textContent = text;
  status.classList.toggle("bad", bad);
}

function lost() {
  say("The server cannot be reached, or stopped answering.", true);
}

function model() {
  return about.models[$("model").selectedIndex];
}

async function begin() {
  const response = await fetch("models");
  about = await response.json();
  for (const { name } of about.models) $("model").append(new Option(name, name));
  $("model-row").hidden = about.models.length < 2;
  $("note").textContent = about.note;
  $("note").hidden = !about.note;
  $("words").value = about.words.join(", ");
  modelChosen();
  await takeExample();
}

function modelChosen() {
  const { tasks, words } = model();
  $("words-row").hidden = !words;
  $("task").replaceChildren(...tasks.map((task) => new Option(task, task)));
  $("task-row").hidden = tasks.length < 2;
}

async function takeExample() {
  const response = await fetch("example.png");
  await take(await response.blob(), "example");
}

/** Show a picture's file, and ask for its segments. */
async function take(blob, called) {
  if (blob.size > about.limits.upload) {
    say(`${called} is too large: at most ${about.limits.upload / 2 ** 20} MiB are read`, true);
    return;
  }
  const turn = ++taken;
  let decoded;
  try {
    decoded = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    say(`${called} is not a picture that this browser can show`, true);
    return;
  }
  if (turn !== taken) return; // another one came while it was decoded
  bitmap?.close();
  [file, bitmap, answer, map, layers] = [blob, decoded, null, null, null];
  name = called.replace(/\.[^.]*$/, "") || "picture";
  $("looks").disabled = true;
  legend.replaceChildren();
  fit(bitmap.width, bitmap.height);
  draw();
  await ask();
}

/** The canvas's size for a picture's. */
function fit(width, height) {
  const larger = Math.ceil(MIN_SIDE / Math.max(width, height));
  const scale = Math.min(larger, Math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / width, MAX_SIDE / height);
  view.width = Math.max(1, Math.round(width * scale));
  view.height = Math.max(1, Math.round(height * scale));
}

async function ask() {
  if (!file) return;
  asking?.abort();
  asking = null;
  const { name: model_name, words } = model();
  const given = $("words").value.split(",").map((word) => word.trim()).filter(Boolean);
  if (words && !given.length) {
    say("Write the words to tell apart, with commas between them", true);
    view.classList.remove("busy");
    forget();
    return;
  }
  const stop = asking = new AbortController();
  const query = new URLSearchParams({ model: model_name, task: $("task").value, label_png: "1" });
  if (words) query.set("labels", given.join(","));
  if (query.get("task") === "instance") query.set("score_threshold", $("score").value / 100);
  const begun = performance.now();
  const tell = () => {
    const seconds = Math.round((performance.now() - begun) / 1000);
    const why = seconds > 3 ? ". The first picture of a size is compiled for, and requests wait in a line." : "";
    say(`Segmenting… ${seconds} s${why}`);
  };
  tell();
  const clock = setInterval(tell, 1000);
  view.classList.add("busy");
  try {
    const response = await fetch(`segment?${query}`, { method: "POST", body: file, signal: stop.signal });
    const said = await response.json();
    if (stop.signal.aborted) return;
    clearInterval(clock);
    if (!response.ok) {
      say(said.error, true);
      forget();
    } else show(said);
  } catch (error) {
    if (stop.signal.aborted) return;
    clearInterval(clock);
    lost();
    forget();
  } finally {
    clearInterval(clock);
    if (asking === stop) {
      asking = null;
      view.classList.remove("busy");
    }
  }
}

/** Nothing is known of the picture. */
function forget() {
  [answer, map, layers] = [null, null, null];
  leave();
  $("looks").disabled = true;
  legend.replaceChildren();
  draw();
}

function show(said) {
  leave();
  answer = said;
  fit(answer.width, answer.height);
  const instances = answer.task === "instance";
  $("score-row").hidden = !instances;
  $("looks").disabled = false;
  remap();
  say(`${counted(answer.task)} in ${answer.seconds.toFixed(2)} s, ${answer.width}×${answer.height}`);
}

/** How much is shown, in words. */
function counted(task) {
  const count = legend.children.length;
  if (!count) return "Nothing found";
  const classes = `${count} ${count === 1 ? "class" : "classes"}`;
  return task === "semantic" ? classes : `${new Set(map).size - map.includes(0)} segments of ${classes}`;
}

/** Anew, which segments there are: when an answer is there, and when the lowest score is another. */
function remap() {
  const least = answer.task === "instance" ? $("score").value / 100 : 0;
  $("score-value").textContent = least.toFixed(2);
  map = segmentMap(answer, (segment) => segment.score >= least);
  tellClasses();
  recolour();
}

/** The legend: a line for each class that is in the map, the one with the most pixels there first. */
function tellClasses() {
  const areas = new Uint32Array(answer.segments.length + 1);
  for (const place of map) areas[place]++;
  const classes = new Map();
  answer.segments.forEach((segment, place) => {
    if (!areas[place + 1]) return;
    const entry = classes.get(segment.category) ?? { colour: segment.colour, area: 0, count: 0 };
    entry.area += areas[place + 1];
    entry.count++;
    classes.set(segment.category, entry);
  });
  const sorted = [...classes].sort(([, a], [, b]) => b.area - a.area);
  legend.replaceChildren(...sorted.map(([category, { colour, area, count }]) => {
    const line = document.createElement("li"), label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(category) });
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(category); else hidden.add(category);
      recolour();
    });
    const named = Object.assign(document.createElement("span"), { className: "name" });
    named.textContent = count > 1 ? `${category} (${count})` : category;
    const share = Object.assign(document.createElement("span"), { className: "share" });
    share.textContent = percent(area);
    label.append(box, swatch(colour), named, share);
    line.append(label);
    line.dataset.category = category;
    return line;
  }));
}

function swatch(colour) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg"), square = document.createElementNS(space, "rect");
  for (const [key, value] of [["width", 16], ["height", 16], ["aria-hidden", "true"]]) svg.setAttribute(key, value);
  for (const [key, value] of [["width", 16], ["height", 16], ["fill", colour]]) square.setAttribute(key, value);
  svg.append(square);
  return svg;
}

function percent(area) {
  const share = 100 * area / (answer.width * answer.height);
  return share < 0.1 ? "<0.1 %" : `${share.toFixed(1)} %`;
}

function canvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** The place in the map of each pixel of the canvas: the nearest one where the canvas is smaller. */
function placeAt(x, y) {
  const column = Math.min(answer.width - 1, Math.floor((x + 0.5) * answer.width / view.width));
  const row = Math.min(answer.height - 1, Math.floor((y + 0.5) * answer.height / view.height));
  return map[row * answer.width + column];
}

/** Make the layers of colours and of borders for the classes that are switched on, and draw. */
function recolour() {
  const { width, height } = view;
  const on = [false, ...answer.segments.map((segment) => !hidden.has(segment.category))];
  const table = new Uint32Array(answer.segments.length + 1);
  const bytes = new Uint8ClampedArray(table.buffer);
  answer.segments.forEach((segment, place) => {
    if (!on[place + 1]) return;
    const number = parseInt(segment.colour.slice(1), 16);
    bytes.set([number >> 16, number >> 8 & 255, number & 255, 255], 4 * (place + 1));
  });
  const white = new Uint32Array(new Uint8ClampedArray([255, 255, 255, 255]).buffer)[0];
  const places = new Uint16Array(width * height);
  for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++, at++) places[at] = placeAt(x, y);
  const fill = new ImageData(width, height), border = new ImageData(width, height);
  const fills = new Uint32Array(fill.data.buffer), borders = new Uint32Array(border.data.buffer);
  for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++, at++) {
    const place = places[at], left = x ? places[at - 1] : place, above = y ? places[at - width] : place;
    fills[at] = table[place];
    if ((left !== place && (on[place] || on[left])) || (above !== place && (on[place] || on[above]))) borders[at] = white;
  }
  layers = [canvas(width, height), canvas(width, height)];
  layers[0].getContext("2d").putImageData(fill, 0, 0);
  layers[1].getContext("2d").putImageData(border, 0, 0);
  layers.places = places;
  draw();
}

/** The picture, the colours over it, the borders, and the outline of the segment under the pointer. */
function draw() {
  if (bitmap) compose(view.getContext("2d"), true);
}

function compose(context, pointed) {
  const { width, height } = view;
  context.globalAlpha = 1;
  context.clearRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  if (!layers) return;
  context.globalAlpha = $("opacity").value / 100;
  context.drawImage(layers[0], 0, 0);
  context.globalAlpha = 1;
  context.drawImage(layers[1], 0, 0);
  if (pointed && under) context.drawImage(outline(under), 0, 0);
}

/** A thick border around one segment, and a light veil over it. */
function outline(place) {
  const { width, height } = view, drawn = new ImageData(width, height), pixels = new Uint32Array(drawn.data.buffer);
  const [veil, edge] = new Uint32Array(new Uint8ClampedArray([255, 255, 255, 70, 20, 20, 22, 255]).buffer);
  const places = layers.places, thick = Math.max(1, Math.round(Math.sqrt(width * height) / 350));
  for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++, at++) {
    if (places[at] !== place) continue;
    const inner = x >= thick && y >= thick && x < width - thick && y < height - thick &&
      places[at - thick] === place && places[at + thick] === place &&
      places[at - thick * width] === place && places[at + thick * width] === place;
    pixels[at] = inner ? veil : edge;
  }
  const layer = canvas(width, height);
  layer.getContext("2d").putImageData(drawn, 0, 0);
  return layer;
}

function point(event) {
  if (!answer || !layers) return;
  const box = view.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * view.width);
  const y = Math.floor((event.clientY - box.top) / box.height * view.height);
  const inside = x >= 0 && y >= 0 && x < view.width && y < view.height;
  const place = inside ? layers.places[y * view.width + x] : 0;
  const segment = answer.segments[place - 1];
  const seen = segment && !hidden.has(segment.category) ? place : 0;
  if (seen !== under) {
    under = seen;
    for (const line of legend.children) line.classList.toggle("under", !!seen && line.dataset.category === segment.category);
    draw();
  }
  tip.hidden = !inside || (!seen && !!place);
  if (tip.hidden) return;
  tip.textContent = seen ? `${segment.category} ${segment.score.toFixed(2)} · ${percent(segment.area)}` : "no segment";
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
}

function leave() {
  tip.hidden = true;
  if (!under) return;
  under = 0;
  for (const line of legend.children) line.classList.remove("under");
  draw();
}

function save(blob, ending) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${name}.${ending}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

$("save-overlay").addEventListener("click", () => {
  const drawn = canvas(view.width, view.height);
  compose(drawn.getContext("2d"), false);
  drawn.toBlob((blob) => save(blob, "overlay.png"), "image/png");
});
$("save-labels").addEventListener("click", () => {
  const bytes = Uint8Array.from(atob(answer.label_png), (character) => character.charCodeAt(0));
  save(new Blob([bytes], { type: "image/png" }), "labels.png");
});
$("save-json").addEventListener("click", () => {
  const { label_png, ...content } = answer;
  save(new Blob([JSON.stringify(content, null, 1), "\n"], { type: "application/json" }), "segments.json");
});

$("file").addEventListener("change", (event) => {
  const [chosen] = event.target.files;
  if (chosen) take(chosen, chosen.name);
  event.target.value = "";
});
$("example").addEventListener("click", () => takeExample().catch(lost));
$("model").addEventListener("change", () => { modelChosen(); ask(); });
$("task").addEventListener("change", ask);
$("words").addEventListener("change", ask);
$("words").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  $("words").blur(); // which is a change, if there is one
});
$("opacity").addEventListener("input", draw);
$("score").addEventListener("input", () => answer && remap());
$("score").addEventListener("change", ask); // the labels' file goes with it
for (const [id, off] of [["all", false], ["none", true]])
  $(id).addEventListener("click", () => {
    for (const { category } of answer.segments) if (off) hidden.add(category); else hidden.delete(category);
    for (const box of legend.querySelectorAll("input")) box.checked = !off;
    recolour();
  });
view.addEventListener("pointermove", point);
view.addEventListener("pointerdown", point); // a finger that taps does not move
view.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") leave(); });
addEventListener("pointerdown", (event) => { if (event.target !== view) leave(); });
addEventListener("scroll", leave, { passive: true });

for (const kind of ["dragenter", "dragover"])
  addEventListener(kind, (event) => { event.preventDefault(); $("stage").classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("stage").classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  $("stage").classList.remove("over");
  const [dropped] = event.dataTransfer.files;
  if (dropped) take(dropped, dropped.name);
});
addEventListener("paste", (event) => {
  const [pasted] = event.clipboardData.files;
  if (pasted) take(pasted, pasted.name);
});

begin().catch(lost);
