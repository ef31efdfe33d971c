"""Which names are a hub's, and what each means."""

import pytest

import ms_seg
from ms_seg.hub import Address, address_of_model, find_address
from ms_seg.hub.transfer import Checksum
from ms_seg.presets import PRESETS, STARTING_WEIGHTS

PANOPTIC = "cv_swinL_panoptic-segmentation_cocopan"
DIGITS = "0123456789abcdef" * 4


def test_a_prefix_says_which_hub():
    assert find_address("hf:someone/shapes") == Address("huggingface", "someone/shapes")
    assert find_address("ms:someone/shapes") == Address("modelscope", "someone/shapes")


@pytest.mark.parametrize(
    ("name", "revision", "file"),
    [
        ("hf:a/b@v1.0", "v1.0", ""),
        ("hf:a/b/last.ckpt", "", "last.ckpt"),
        ("hf:a/b@0123abc/last.ckpt", "0123abc", "last.ckpt"),
    ],
)
def test_a_revision_and_a_file_can_be_named(name, revision, file):
    assert find_address(name) == Address("huggingface", "a/b", revision, file)


@pytest.mark.parametrize(
    "name", ["hf:", "hf:shapes", "hf:../shapes", "ms:a/b c", "ms:a/../b", "hf:a/b/.git", "hf:a/b@", "ms:a/b@.."]
)
def test_a_prefix_before_anything_else_is_refused(name):
    with pytest.raises(ValueError, match="is no model's name: it must be (hf|ms):owner/name"):
        find_address(name)


def test_every_published_name_finds_its_model():
    for preset in PRESETS.values():
        for entry in preset.published:
            if entry.hub in ("huggingface", "modelscope"):
                assert find_address(entry.id) == Address(entry.hub, entry.id, file=entry.file, model=preset.name)


@pytest.mark.parametrize(
    ("name", "url", "model"),
    [
        (
            "segformer_mit-b0_512x512_160k_ade20k_20210726_101530-8ffa8fda.pth",
            "https://download.openmmlab.com/mmsegmentation/v0.5/segformer/segformer_mit-b0_512x512_160k_ade20k/",
            "segformer_b0_ade20k_mmseg",
        ),
        (
            "mask2former_r50_lsj_8x2_50e_coco-panoptic_20220326_224516-11a44721.pth",
            "https://download.openmmlab.com/mmdetection/v2.0/mask2former/mask2former_r50_lsj_8x2_50e_coco-panoptic/",
            "mask2former_r50_coco_panoptic",
        ),
        (
            "model_final_9fd0ae.pkl",
            "https://dl.fbaipublicfiles.com/maskformer/mask2former/coco/panoptic/maskformer2_swin_tiny_bs16_50ep/",
            "mask2former_swin_t_coco_panoptic",
        ),
        (
            "mask2former_beit_adapter_large_896_80k_ade20k.zip",
            "https://github.com/czczup/ViT-Adapter/releases/download/v0.2.0/",
            "vit_adapter_beit_l_ade20k_czczup",
        ),
    ],
)
def test_a_file_of_a_zoo_is_found_by_its_name(name, url, model):
    address = find_address(name)
    assert (address.hub, address.id, address.file, address.model) == ("https", url + name, name, model)
    digits = name.rpartition("-")[2].partition(".")[0] if "openmmlab" in url else "9fd0ae"
    assert address.checksum is None if "github" in url else address.checksum.digits == digits


def test_what_a_training_begins_with_is_found_by_its_name_and_is_no_model():
    for weights in STARTING_WEIGHTS:
        assert find_address(weights.passed_as).model == "auto"
    backbone = find_address("timm/swin_large_patch4_window12_384.ms_in22k")
    assert (backbone.hub, backbone.id) == ("huggingface", "timm/swin_large_patch4_window12_384.ms_in22k")
    text = find_address("ViT-B-32.pt")
    assert text.id.startswith("https://openaipublic.azureedge.net/clip/models/40d365715913c9da98579312b702a82c18be2")
    assert text.id.endswith("/ViT-B-32.pt") and text.checksum.digits in text.id
    mit = find_address("mit_b0_20220624-7e0fe6dd.pth")
    assert (mit.id, mit.checksum) == (
        "https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth",
        Checksum("sha256", "7e0fe6dd"),
    )


@pytest.mark.parametrize("name", [f"damo/{PANOPTIC}", f"iic/{PANOPTIC}", f"ms:iic/{PANOPTIC}"])
def test_either_owner_of_modelscopes_own_models_will_do(name):
    assert find_address(name).model == "mask2former_swin_l_coco_panoptic"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("nvidia/segformer-b2-another", Address("huggingface", "nvidia/segformer-b2-another")),
        ("facebook/mask2former@main", Address("huggingface", "facebook/mask2former", "main")),
        ("iic/cv_another", Address("modelscope", "iic/cv_another")),
        ("nvidia/model.pth", None),
        ("czczup/ViT-Adapter", None),
        ("someone/shapes", None),
    ],
)
def test_a_publishers_other_models_are_on_the_same_hub(name, address):
    assert find_address(name) == address


def test_another_revision_of_a_published_model_is_still_that_model():
    address = find_address(f"ms:damo/{PANOPTIC}@v1.0.1")
    assert (address.revision, address.model) == ("v1.0.1", "mask2former_swin_l_coco_panoptic")


@pytest.mark.parametrize("name", ["segformer_b0_ade20k", "runs/model.ckpt", "C:/model.pth", "auto", "model.pth"])
def test_names_of_presets_and_files_are_no_addresses(name):
    assert find_address(name) is None


@pytest.mark.parametrize("asked", [address_of_model, ms_seg.create_model])
def test_a_name_without_a_hub_is_asked_about(asked):
    with pytest.raises(ValueError, match="write hf:someone/shapes .* or ms:someone/shapes "):
        asked("someone/shapes")


def test_a_link_needs_a_checksum():
    url = "https://example.org/zoo/model-0123abcd.pth"
    assert find_address(f"{url}#md5=0123ab").checksum == Checksum("md5", "0123ab")
    for fragment in ("", "#", "#sha256=", "#sha256=0123", "#crc=0123456789", "#sha256=XYZXYZ"):
        with pytest.raises(ValueError, match="must be followed by what its publisher says of it"):
            find_address(url + fragment)


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("https://huggingface.co/someone/shapes", "hf:someone/shapes"),
        ("https://huggingface.co/someone/shapes/tree/main", "hf:someone/shapes@main"),
        ("https://huggingface.co/someone/shapes/resolve/v1/last.ckpt", "hf:someone/shapes@v1/last.ckpt"),
        ("https://modelscope.cn/models/someone/shapes/summary", "ms:someone/shapes"),
        ("https://www.modelscope.ai/models/someone/shapes/files", "ms:someone/shapes"),
    ],
)
def test_a_models_page_is_the_model(page, name):
    assert find_address(page) == find_address(name) and find_address(page).hub != "https"


def test_a_file_of_google_drive_is_for_a_browser():
    with pytest.raises(ValueError, match="is on Google Drive, .* download it in a browser, and pass the file"):
        find_address("https://drive.google.com/file/d/1FTuHY1xPUkM-5gaDtMfgCl3D0gR89WV7/view")
    with pytest.raises(ValueError, match=r"demo_e200.ckpt \(https://drive.google.com/file/d/1FTu.* is on Google Drive"):
        address_of_model("demo_e200.ckpt")


def test_a_link_without_encryption_needs_a_whole_one():
    url = "http://example.org/zoo/model.pth"
    assert find_address(f"{url}#sha256={DIGITS}").id == url
    for fragment in (f"#sha256={DIGITS[:40]}", f"#md5={DIGITS[:32]}"):
        with pytest.raises(ValueError, match="is not https"):
            find_address(url + fragment)


@pytest.mark.parametrize("url", ["https://example.org/", "https:///model.pth", "https://example.org/.."])
def test_a_link_to_no_file_is_refused(url):
    with pytest.raises(ValueError, match="is no address of a file"):
        find_address(f"{url}#sha256={DIGITS}")
