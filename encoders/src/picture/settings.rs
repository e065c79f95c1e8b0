//! `preprocessor_config.json`: what becomes of a picture before a model sees it. Owns its keys and the defaults of
//! transformers' image processors. Invariant: every picture comes out with the same size, known before any is decoded.

use std::path::Path;

use crate::error::EncoderError;
use crate::json::Section;
use crate::model_folder::Family;

/// `OPENAI_CLIP_MEAN` of transformers.
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// `OPENAI_CLIP_STD` of transformers.
const CLIP_DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
/// `IMAGENET_STANDARD_MEAN` and `IMAGENET_STANDARD_STD` of transformers.
const STANDARD: [f32; 3] = [0.5, 0.5, 0.5];
/// Size of pictures where a config has none.
const DEFAULT_SIZE: usize = 224;
/// Values of a byte.
const DEFAULT_RESCALE_FACTOR: f64 = 1.0 / 255.0;
/// PIL's number of bicubic resampling.
const DEFAULT_RESAMPLE: usize = 3;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Width.
    pub(crate) width: usize,
    /// Height.
    pub(crate) height: usize,
}

impl Size {
    /// Of the picture turned by a quarter.
    pub(crate) fn turned(self) -> Size {
        Size { width: self.height, height: self.width }
    }
}

/// What a picture is resized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resize {
    /// Its shorter side to a length, keeping proportions.
    ShortestEdge(usize),
    /// Both sides, whatever its proportions.
    Exact(Size),
}

impl Resize {
    /// What a picture of some size becomes, rounded as `get_resize_output_image_size` of transformers does: down.
    pub(crate) fn target(self, size: Size) -> Size {
        match self {
            Resize::Exact(target) => target,
            Resize::ShortestEdge(edge) if size.width <= size.height => {
                Size { width: edge, height: edge * size.height / size.width }
            }
            Resize::ShortestEdge(edge) => Size { width: edge * size.width / size.height, height: edge },
        }
    }
}

/// Resampling filters, by PIL's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// 0.
    Nearest,
    /// 1.
    Lanczos,
    /// 2.
    Bilinear,
    /// 3.
    Bicubic,
    /// 4.
    Box,
    /// 5.
    Hamming,
}

/// What becomes of a picture, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PictureSettings {
    /// Resizing.
    pub(crate) resize: Option<(Resize, Filter)>,
    /// Cutting out the centre, with black around a smaller picture.
    pub(crate) crop: Option<Size>,
    /// What bytes are multiplied by.
    pub(crate) rescale: f32,
    /// Subtracted per colour.
    pub(crate) mean: [f32; 3],
    /// Divided by, per colour.
    pub(crate) deviation: [f32; 3],
}

impl PictureSettings {
    /// Reads the folder's file: `preprocessor_config.json`, or the part of `processor_config.json` that replaces it in
    /// checkpoints saved by transformers 5.
    pub(crate) fn read(folder: &Path, family: Family) -> Result<PictureSettings, EncoderError> {
        let path = folder.join("preprocessor_config.json");
        if let Some(config) = Section::read_optional(&path)? {
            return PictureSettings::parse(&config, family);
        }
        let processor = Section::read_optional(&folder.join("processor_config.json"))?;
        match processor {
            Some(processor) if processor.get("image_processor").is_some() => {
                PictureSettings::parse(&processor.section("image_processor")?, family)
            }
            Some(_) | None => Err(EncoderError::MissingFile {
                folder: folder.to_path_buf(),
                file: "preprocessor_config.json".to_owned(),
            }),
        }
    }

    fn parse(config: &Section, family: Family) -> Result<PictureSettings, EncoderError> {
        let siglip = family == Family::Siglip;
        let enabled = |key: &str, default: bool| Ok::<_, EncoderError>(config.flag(key)?.unwrap_or(default));
        let resize = if enabled("do_resize", true)? {
            let filter = filter(config)?;
            Some((resize(config, siglip)?, filter))
        } else {
            None
        };
        let crop = if enabled("do_center_crop", !siglip)? { Some(crop(config)?) } else { None };
        let rescale = if enabled("do_rescale", true)? {
            config.number("rescale_factor")?.unwrap_or(DEFAULT_RESCALE_FACTOR) as f32
        } else {
            1.0
        };
        let (mean, deviation) = if siglip { (STANDARD, STANDARD) } else { (CLIP_MEAN, CLIP_DEVIATION) };
        let (mean, deviation) = if enabled("do_normalize", true)? {
            (colours(config, "image_mean", mean)?, colours(config, "image_std", deviation)?)
        } else {
            ([0.0; 3], [1.0; 3])
        };
        if deviation.contains(&0.0) {
            return Err(config.error("`image_std` has a zero"));
        }
        Ok(PictureSettings { resize, crop, rescale, mean, deviation })
    }

    /// Size of what comes out; none where it depends on the picture.
    pub(crate) fn output_size(&self) -> Option<Size> {
        match (self.crop, self.resize) {
            (Some(size), _) | (None, Some((Resize::Exact(size), _))) => Some(size),
            (None, Some((Resize::ShortestEdge(_), _)) | None) => None,
        }
    }
}

/// `size`: a number, `{"shortest_edge": n}` or `{"height": h, "width": w}`.
fn resize(config: &Section, square_by_default: bool) -> Result<Resize, EncoderError> {
    let one_number = |edge: usize| match square_by_default {
        true => Resize::Exact(Size { width: edge, height: edge }),
        false => Resize::ShortestEdge(edge),
    };
    let resize = match config.get("size") {
        None => one_number(DEFAULT_SIZE),
        Some(value) if value.is_object() => {
            let size = config.section("size")?;
            match (size.count("shortest_edge")?, size.count("height")?, size.count("width")?) {
                (Some(edge), None, None) => Resize::ShortestEdge(edge),
                (None, Some(height), Some(width)) => Resize::Exact(Size { width, height }),
                (_, _, _) => return Err(config.error(format!("`size` {value} is not supported"))),
            }
        }
        // Written by the feature extractors before there were image processors.
        Some(_) => one_number(config.count("size")?.unwrap_or(DEFAULT_SIZE)),
    };
    match resize {
        Resize::ShortestEdge(0) | Resize::Exact(Size { width: 0, .. } | Size { height: 0, .. }) => {
            Err(config.error("`size` is zero"))
        }
        Resize::ShortestEdge(_) | Resize::Exact(_) => Ok(resize),
    }
}

/// `crop_size`: a number or `{"height": h, "width": w}`.
fn crop(config: &Section) -> Result<Size, EncoderError> {
    let square = |edge: usize| Size { width: edge, height: edge };
    let size = match config.get("crop_size") {
        None => square(DEFAULT_SIZE),
        Some(value) if value.is_object() => {
            let size = config.section("crop_size")?;
            match (size.count("height")?, size.count("width")?) {
                (Some(height), Some(width)) => Size { width, height },
                (_, _) => return Err(config.error(format!("`crop_size` {value} is not supported"))),
            }
        }
        Some(_) => square(config.count("crop_size")?.unwrap_or(DEFAULT_SIZE)),
    };
    if size.width == 0 || size.height == 0 { Err(config.error("`crop_size` is zero")) } else { Ok(size) }
}

fn filter(config: &Section) -> Result<Filter, EncoderError> {
    match config.count("resample")?.unwrap_or(DEFAULT_RESAMPLE) {
        0 => Ok(Filter::Nearest),
        1 => Ok(Filter::Lanczos),
        2 => Ok(Filter::Bilinear),
        3 => Ok(Filter::Bicubic),
        4 => Ok(Filter::Box),
        5 => Ok(Filter::Hamming),
        other => Err(config.error(format!("`resample` {other} is not one of PIL's filters"))),
    }
}

fn colours(config: &Section, key: &str, default: [f32; 3]) -> Result<[f32; 3], EncoderError> {
    let Some(value) = config.get(key) else { return Ok(default) };
    let numbers: Option<Vec<f32>> =
        value.as_array().and_then(|values| values.iter().map(|value| Some(value.as_f64()? as f32)).collect());
    numbers
        .and_then(|numbers| <[f32; 3]>::try_from(numbers).ok())
        .ok_or_else(|| config.error(format!("`{key}` should be three numbers, got {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str, family: Family) -> Result<PictureSettings, EncoderError> {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("preprocessor_config.json"), json).unwrap();
        PictureSettings::read(folder.path(), family)
    }

    #[test]
    fn old_and_new_forms_of_sizes_mean_the_same() {
        let old = r#"{"size": 224, "crop_size": 224, "resample": 3}"#;
        let new = r#"{"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}"#;
        assert_eq!(parse(old, Family::Clip).unwrap(), parse(new, Family::Clip).unwrap());
        let square = Resize::Exact(Size { width: 224, height: 224 });
        assert_eq!(parse(old, Family::Siglip).unwrap().resize, Some((square, Filter::Bicubic)));
    }

    #[test]
    fn target_sizes_are_rounded_down() {
        let size = |width, height| Size { width, height };
        let shortest = Resize::ShortestEdge(224);
        assert_eq!(shortest.target(size(640, 427)), size(335, 224));
        assert_eq!(shortest.target(size(427, 640)), size(224, 335));
        assert_eq!(shortest.target(size(100, 100)), size(224, 224));
        assert_eq!(Resize::Exact(size(8, 9)).target(size(640, 427)), size(8, 9));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for json in [
            r#"{"size": {"longest_edge": 224}}"#,
            r#"{"size": {"shortest_edge": 0}}"#,
            r#"{"resample": 9}"#,
            r#"{"image_mean": [0.5]}"#,
            r#"{"image_std": [0, 1, 1]}"#,
            r#"{"do_resize": "yes"}"#,
        ] {
            assert!(matches!(parse(json, Family::Clip), Err(EncoderError::Config { .. })), "{json}");
        }
    }

    #[test]
    fn a_processor_config_of_transformers_5_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let missing = PictureSettings::read(folder.path(), Family::Clip).unwrap_err();
        assert!(matches!(missing, EncoderError::MissingFile { .. }));
        let json = r#"{"image_processor": {"size": {"height": 64, "width": 32}, "do_center_crop": false}}"#;
        fs_err::write(folder.path().join("processor_config.json"), json).unwrap();
        let settings = PictureSettings::read(folder.path(), Family::Clip).unwrap();
        assert_eq!(settings.output_size(), Some(Size { width: 32, height: 64 }));
    }
}
