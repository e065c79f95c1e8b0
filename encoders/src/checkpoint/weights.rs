//! Reading tensors out of safetensors files. Owns the header and the byte ranges; which tensors there should be is the
//! towers' knowledge. Invariant: only the bytes of a tensor that is asked for are read, so two towers of one checkpoint
//! share the file without either loading the other's weights, and no header can make us read outside the file.
//!
//! Layout (<https://github.com/huggingface/safetensors#format>):
//!
//! ```text
//! 8 bytes  little-endian length N of the header
//! N bytes  JSON: { "name": { "dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end] }, "__metadata__": … }
//! rest     the tensors' bytes; the offsets count from here
//! ```
//!
//! The files are read, not mapped: mapping needs `unsafe`, and a file that shrinks under a map crashes the process.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use serde_json::Value;

use super::files;
use crate::error::EncoderError;

/// Longest header that is read, as in the safetensors library.
const MAX_HEADER_LENGTH: u64 = 100_000_000;

/// The tensors of a folder's safetensors files, read when asked for.
#[derive(Debug)]
pub(crate) struct Weights {
    tensors: HashMap<String, Entry>,
}

/// Where a tensor is.
#[derive(Clone, Debug)]
struct Entry {
    file: PathBuf,
    dtype: DType,
    shape: Vec<usize>,
    begin: u64,
    length: usize,
}

impl Weights {
    /// Reads the headers of the weights in a folder.
    pub(crate) fn open(folder: &Path) -> Result<Weights, EncoderError> {
        let mut tensors = HashMap::new();
        for name in files::weight_names(folder)?.iter().filter(|name| name.ends_with(".safetensors")) {
            read_header(&folder.join(name), &mut tensors)?;
        }
        if tensors.is_empty() {
            let file = files::WEIGHTS_FILE.to_owned();
            return Err(EncoderError::MissingFile { folder: folder.to_path_buf(), file });
        }
        Ok(Weights { tensors })
    }

    /// Whether there is a tensor of that name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensors by candle's usual means, on a device and in a number type.
    pub(crate) fn builder(self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self), dtype, device.clone())
    }

    fn load(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt())?;
        let mut bytes = vec![0; entry.length];
        let mut file = fs_err::File::open(&entry.file)?;
        file.seek(SeekFrom::Start(entry.begin))?;
        file.read_exact(&mut bytes)?;
        // Converted before it goes to the device: half precision then needs half the transfer.
        let tensor = Tensor::from_raw_buffer(&bytes, entry.dtype, &entry.shape, &Device::Cpu)?;
        tensor.to_dtype(dtype)?.to_device(device)
    }
}

impl SimpleBackend for Weights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.load(name, dtype, device)?;
        if tensor.shape() != &shape {
            candle_core::bail!("`{name}` has shape {:?} where config.json implies {shape:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.load(name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.contains(name)
    }
}

fn read_header(path: &Path, tensors: &mut HashMap<String, Entry>) -> Result<(), EncoderError> {
    let broken = |reason: String| EncoderError::config(path, format!("not a safetensors file: {reason}"));
    let mut file = fs_err::File::open(path).map_err(EncoderError::io(path))?;
    let file_length = file.metadata().map_err(EncoderError::io(path))?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| broken(format!("{file_length} bytes have no header")))?;
    let header_length = u64::from_le_bytes(length);
    let room = file_length.saturating_sub(8);
    if header_length > room.min(MAX_HEADER_LENGTH) {
        return Err(broken(format!("a header of {header_length} bytes in a file of {file_length}")));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(EncoderError::io(path))?;
    let header: serde_json::Map<String, Value> =
        serde_json::from_slice(&header).map_err(|error| broken(error.to_string()))?;
    let data_begin = 8 + header_length;
    for (name, description) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        // Types that no tower uses, such as the integer position ids of old checkpoints, are passed over.
        let Some(dtype) = description.get("dtype").and_then(Value::as_str).and_then(dtype_of) else { continue };
        let numbers =
            |key: &str| -> Option<Vec<u64>> { description.get(key)?.as_array()?.iter().map(Value::as_u64).collect() };
        let (Some(shape), Some(offsets)) = (numbers("shape"), numbers("data_offsets")) else {
            return Err(broken(format!("`{name}` has no shape or no offsets")));
        };
        let elements = shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
        let bytes = elements.and_then(|elements| elements.checked_mul(dtype.size_in_bytes() as u64));
        let (begin, end) = match offsets[..] {
            [begin, end] if begin <= end && end <= file_length - data_begin => (begin, end),
            _ => return Err(broken(format!("`{name}` lies at {offsets:?}, outside the file or cut off"))),
        };
        if bytes != Some(end - begin) {
            return Err(broken(format!("`{name}` of shape {shape:?} has {} bytes", end - begin)));
        }
        let shape = shape.into_iter().map(|size| size as usize).collect();
        let length = (end - begin) as usize;
        tensors.insert(name, Entry { file: path.to_path_buf(), dtype, shape, begin: data_begin + begin, length });
    }
    Ok(())
}

fn dtype_of(name: &str) -> Option<DType> {
    match name {
        "F32" => Some(DType::F32),
        "F16" => Some(DType::F16),
        "BF16" => Some(DType::BF16),
        "F64" => Some(DType::F64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(header: &str, data: &[u8]) -> Result<Weights, EncoderError> {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        fs_err::write(folder.path().join(files::WEIGHTS_FILE), bytes).unwrap();
        let weights = Weights::open(folder.path());
        if let Ok(weights) = &weights {
            let tensor = weights.load("w", DType::F32, &Device::Cpu).unwrap();
            assert_eq!(tensor.to_vec1::<f32>().unwrap(), [1.0, -2.0]);
        }
        weights
    }

    #[test]
    fn tensors_are_read_and_types_without_use_passed_over() {
        let header = r#"{"__metadata__":{"format":"pt"},"ids":{"dtype":"I64","shape":[0],"data_offsets":[0,0]},
            "w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let data: Vec<u8> = [1.0f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let weights = open(header, &data).unwrap();
        assert!(weights.contains("w") && !weights.contains("ids"));
    }

    #[test]
    fn headers_that_do_not_fit_the_file_are_errors() {
        for header in [
            r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
            r#"{"w":{"dtype":"F32","shape":[18446744073709551615,9],"data_offsets":[0,4]}}"#,
            r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
            r#"{"w":{"dtype":"F32","shape":[1]}}"#,
            "not json",
        ] {
            let error = open(header, &[0; 4]).unwrap_err().to_string();
            assert!(error.contains("not a safetensors file"), "{header}: {error}");
        }
    }

    #[test]
    fn a_huge_header_length_is_not_allocated() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join(files::WEIGHTS_FILE), u64::MAX.to_le_bytes()).unwrap();
        assert!(Weights::open(folder.path()).is_err());
    }
}
