//! Image encoders against transformers (PyTorch, f32): the same pixels, the same embeddings.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and print what they measured")]

mod common;

use common::{Reference, assert_unit_length, cosine, lowest_cosine};
use encoders::{DeviceChoice, EncoderError, ImageEncoder, ImageLimits, Pixels};
use schemas::Dtype;

const REFERENCES: [&str; 4] = ["clip-tiny", "clip-gelu-tiny", "siglip-tiny", "chinese-clip-tiny"];

fn for_each(check: impl Fn(&Reference, &dyn Fn(Dtype) -> ImageEncoder)) {
    let Some(shared) = common::shared() else { return common::skip() };
    for name in REFERENCES {
        let reference = Reference::load(&shared, name);
        let checkpoint = reference.open();
        check(&reference, &|dtype| ImageEncoder::load(&checkpoint, DeviceChoice::Cpu, dtype).unwrap());
    }
}

fn reference_pixels(reference: &Reference) -> Vec<Pixels> {
    reference.rows("pixel_values").into_iter().map(Pixels).collect()
}

fn own_pixels(reference: &Reference, encoder: &ImageEncoder) -> Vec<Pixels> {
    let read = |path| encoder.preprocess(&fs_err::read(path).unwrap(), &ImageLimits::default()).unwrap();
    reference.images.iter().map(read).collect()
}

#[test]
fn pixels_equal_the_reference() {
    for_each(|reference, load| {
        let encoder = load(Dtype::F32);
        let mut worst = 0.0f64;
        for (own, expected) in own_pixels(reference, &encoder).iter().zip(reference_pixels(reference)) {
            assert_eq!(own.0.len(), expected.0.len(), "{}", reference.name);
            let sum: f64 = own.0.iter().zip(&expected.0).map(|(own, expected)| f64::from((own - expected).abs())).sum();
            worst = worst.max(sum / own.0.len() as f64);
        }
        println!("{}: largest mean difference of pixels {worst:.5}", reference.name);
        assert!(worst <= 0.02, "{}: {worst}", reference.name);
    });
}

#[test]
fn embeddings_equal_the_reference() {
    for_each(|reference, load| {
        let encoder = load(Dtype::F32);
        let expected = reference.rows("image_embeddings");
        let got = encoder.encode_pixels(&reference_pixels(reference)).unwrap();
        assert_unit_length(&reference.name, &got);
        assert_eq!(got.dimension(), encoder.spec().dimension);
        let same_pixels = lowest_cosine(&reference.name, &got, &expected, 0.9999);
        let got = encoder.encode_pixels(&own_pixels(reference, &encoder)).unwrap();
        let own_pixels = lowest_cosine(&reference.name, &got, &expected, 0.995);
        println!("{}: lowest cosine {same_pixels:.9}, with own pixels {own_pixels:.6}", reference.name);
    });
}

#[test]
fn a_picture_alone_and_in_a_batch_is_the_same() {
    for_each(|reference, load| {
        let encoder = load(Dtype::F32);
        let pixels = reference_pixels(reference);
        let together = encoder.encode_pixels(&pixels).unwrap();
        for (row, picture) in pixels.iter().enumerate() {
            let alone = encoder.encode_pixels(std::slice::from_ref(picture)).unwrap();
            let cosine = cosine(alone.row(0), together.row(row));
            assert!(cosine > 0.99999, "{}: picture {row}: {cosine}", reference.name);
        }
    });
}

#[test]
fn an_encoder_for_queries_gives_the_embeddings_of_the_catalogs() {
    for_each(|reference, load| {
        let pixels = reference_pixels(reference);
        let catalog = load(Dtype::F32).encode_pixels(&pixels).unwrap();
        let queries = ImageEncoder::load_for_queries(&reference.open(), DeviceChoice::Cpu, Dtype::F32).unwrap();
        let expected: Vec<Vec<f32>> = catalog.rows().map(<[f32]>::to_vec).collect();
        let got = queries.encode_pixels(&pixels).unwrap();
        lowest_cosine(&reference.name, &got, &expected, 0.999_999);
    });
}

#[test]
fn half_precision_stays_close() {
    for_each(|reference, load| {
        let pixels = reference_pixels(reference);
        let full = load(Dtype::F32).encode_pixels(&pixels).unwrap();
        let full: Vec<Vec<f32>> = full.rows().map(<[f32]>::to_vec).collect();
        for dtype in [Dtype::F16, Dtype::Bf16] {
            let half = load(dtype).encode_pixels(&pixels).unwrap();
            let what = format!("{} {dtype:?}", reference.name);
            let lowest = lowest_cosine(&what, &half, &full, 0.999);
            println!("{what}: lowest cosine to f32 {lowest:.6}");
        }
    });
}

#[test]
fn pixels_of_another_size_and_checkpoints_without_pictures_are_errors() {
    let Some(shared) = common::shared() else { return common::skip() };
    let clip = Reference::load(&shared, "clip-tiny").open();
    let encoder = ImageEncoder::load(&clip, DeviceChoice::Cpu, Dtype::F32).unwrap();
    let error = encoder.encode_pixels(&[Pixels(vec![0.0; 7])]).unwrap_err();
    assert!(matches!(error, EncoderError::ImageBroken { .. }), "{error}");
    let bert = Reference::load(&shared, "bert-cls-tiny").open();
    let error = ImageEncoder::load(&bert, DeviceChoice::Cpu, Dtype::F32).unwrap_err().to_string();
    assert!(error.ends_with("has no image encoder"), "{error}");
}
