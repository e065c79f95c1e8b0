//! Pictures that are made to break the night: bombs, absurd sizes, files that are no files, and paths that lead elsewhere.
//! Each leaves the modality absent with a reason, and costs bounded memory.

use std::io::Write;

use image::codecs::gif::GifEncoder;
use image::{Frame, Rgba, RgbaImage};
use serde_json::json;

use crate::harness::{Folder, fixture_encoders};

/// A chunk of a PNG with its checksum.
fn png_chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut checksum = flate2::Crc::new();
    checksum.update(kind);
    checksum.update(content);
    let length = (content.len() as u32).to_be_bytes();
    [&length[..], kind, content, &checksum.sum().to_be_bytes()].concat()
}

/// So many zeros, packed.
fn packed_zeros(bytes: usize) -> Vec<u8> {
    let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let block = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        writer.write_all(&block).unwrap();
    }
    writer.finish().unwrap()
}

/// A PNG of 8-bit grey with these chunks between its header and its end.
fn png(width: u32, height: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.extend(png_chunk(b"IHDR", &header));
    file.extend(chunks.concat());
    file.extend(png_chunk(b"IEND", &[]));
    file
}

/// Publishes a lamp per picture of the folder `shop/images`; the report and the peak memory in MiB.
fn publish(folder: &Folder, images: &[&str]) -> (serde_json::Value, u64) {
    let line = |(row, image): (usize, &&str)| {
        json!({"id": format!("{row:03}"), "title": format!("lamp {row}"), "image": image}).to_string()
    };
    let lines: Vec<String> = images.iter().enumerate().map(line).collect();
    folder.write("shop/items.jsonl", lines.join("\n"));
    // The gate that would refuse so many bad pictures is not what is tried.
    folder.config("shop/items.jsonl", &(fixture_encoders() + "[gates]\nmax_missing_images = 1.0\n"));
    let (output, peak) = folder.run_and_peak();
    let report = output.expect_code(0).json();
    assert_eq!(report["items"], images.len(), "no row is lost over a picture");
    (report, peak)
}

#[test]
fn bombs_and_absurd_sizes_are_refused_by_their_header() {
    let folder = Folder::new();
    folder.write("shop/images/pixels.png", png(60_000, 60_000, &[png_chunk(b"IDAT", &packed_zeros(64 << 20))]));
    folder.write("shop/images/wide.png", png(0x7fff_ffff, 0x7fff_ffff, &[png_chunk(b"IDAT", &packed_zeros(1 << 20))]));
    folder.write("shop/images/none.png", png(0, 7, &[]));
    // VP8L: a signature byte, 14 bits each of width and height less one, and a picture that is cut off.
    let size = 0x3ffe_u32 | 0x3ffe << 14;
    let lossless = [&b"VP8L\x10\0\0\0\x2f"[..], &size.to_le_bytes(), &[0; 11]].concat();
    let webp = [&b"RIFF"[..], &(4 + lossless.len() as u32).to_le_bytes(), b"WEBP", &lossless].concat();
    folder.write("shop/images/wide.webp", webp);
    let mut bitmap = fs_err::read(folder.picture("shop/images/wide.bmp", 2, 2, [1, 2, 3])).unwrap();
    bitmap[18..22].copy_from_slice(&65_000_u32.to_le_bytes());
    bitmap[22..26].copy_from_slice(&65_000_u32.to_le_bytes());
    folder.write("shop/images/wide.bmp", bitmap);
    let images = ["pixels.png", "wide.png", "none.png", "wide.webp", "wide.bmp"].map(|name| format!("images/{name}"));
    let (report, peak) = publish(&folder, &images.each_ref().map(String::as_str));
    assert_eq!(report["reject_reasons"], json!({"image_too_large": 4, "image_broken": 1}));
    assert!(peak < 300, "{peak} MiB");
}

#[test]
fn a_bomb_in_a_colour_profile_is_not_unpacked() {
    let folder = Folder::new();
    // 700 MiB in a small picture. The profile is not needed, so the picture is.
    let profile = [&b"profile\0\0"[..], &packed_zeros(700 << 20)].concat();
    let mut rows = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    rows.write_all(&[0, 7, 7, 0, 7, 7]).unwrap();
    let chunks = [png_chunk(b"iCCP", &profile), png_chunk(b"IDAT", &rows.finish().unwrap())];
    let names: Vec<String> = (0..8).map(|number| format!("images/{number}.png")).collect();
    for name in &names {
        folder.write(&format!("shop/{name}"), png(2, 2, &chunks));
    }
    let (report, peak) = publish(&folder, &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(report["encoded"]["image"], 8);
    assert!(peak < 400, "{peak} MiB");
}

#[test]
fn a_picture_of_the_largest_size_costs_bounded_memory() {
    let folder = Folder::new();
    let names = ["images/0.png", "images/1.png", "images/2.webp"];
    for name in names {
        // 49 megapixels of one colour, some kilobytes.
        folder.picture(&format!("shop/{name}"), 7_000, 7_000, [200, 10, 10]);
    }
    let (report, peak) = publish(&folder, &names);
    assert_eq!(report["encoded"]["image"], 3);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    assert!(peak < 300 + 300 * threads.min(3), "{peak} MiB on {threads} threads");
}

#[test]
fn content_counts_and_not_the_ending_and_animations_give_their_first_frame() {
    let folder = Folder::new();
    fs_err::rename(folder.picture("shop/images/a.png", 40, 30, [250, 0, 0]), folder.path("shop/images/a.jpg")).unwrap();
    fs_err::rename(folder.picture("shop/images/b.jpg", 40, 30, [250, 0, 0]), folder.path("shop/images/b")).unwrap();
    let mut animation = Vec::new();
    let frame = |colour| Frame::new(RgbaImage::from_pixel(40, 30, Rgba(colour)));
    GifEncoder::new(&mut animation).encode_frames((0..200).map(|_| frame([250, 0, 0, 255]))).unwrap();
    folder.write("shop/images/c.png", animation);
    folder.write("shop/images/d.png", "<svg xmlns='http://www.w3.org/2000/svg'/>");
    let (report, _) = publish(&folder, &["images/a.jpg", "images/b", "images/c.png", "images/d.png"]);
    assert_eq!(report["encoded"]["image"], 3);
    assert_eq!(report["reject_reasons"], json!({"image_broken": 1}));
}

#[test]
fn paths_that_lead_elsewhere_and_files_that_are_no_files_are_not_opened() {
    let folder = Folder::new();
    folder.picture("outside.png", 4, 4, [1, 2, 3]);
    folder.picture("shop/images/inside.png", 4, 4, [1, 2, 3]);
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, folder.path(name)).unwrap();
    link("../../outside.png", "shop/images/out.png");
    link("../..", "shop/images/up");
    link("/dev/zero", "shop/images/zero.png");
    link("loop.png", "shop/images/loop.png");
    link("inside.png", "shop/images/in.png");
    let pipe = folder.path("shop/images/pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.path("shop/images/socket.png")).unwrap();
    let images = [
        "images/in.png",
        "../outside.png",
        "images/../../outside.png",
        "/dev/zero",
        "images/out.png",
        "images/up/outside.png",
        "images/zero.png",
        "images/loop.png",
        "images/pipe.png",
        "images/socket.png",
        "images",
        "images/in.png\0.jpg",
        "images/in.png\n",
    ];
    let (report, _) = publish(&folder, &images);
    assert_eq!(report["encoded"]["image"], 1);
    let expected = json!({"image_outside_catalog": 6, "image_broken": 5, "image_missing": 1});
    assert_eq!(report["reject_reasons"], expected);
}
