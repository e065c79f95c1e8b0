//! The one place that knows which devices this build can use. Owns the gates of `cuda` and `flash-attn`; nothing else in
//! the workspace names these features. Invariant: without a usable GPU the same binary says so and computes on the CPU.

#[cfg(not(feature = "cuda"))]
mod cuda_disabled;
#[cfg(feature = "cuda")]
mod cuda_enabled;
#[cfg(not(feature = "flash-attn"))]
mod flash_disabled;
#[cfg(feature = "flash-attn")]
mod flash_enabled;

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};
use schemas::Dtype;

#[cfg(not(feature = "cuda"))]
use cuda_disabled as cuda;
#[cfg(feature = "cuda")]
use cuda_enabled as cuda;
#[cfg(not(feature = "flash-attn"))]
pub(crate) use flash_disabled::attend_packed;
#[cfg(feature = "flash-attn")]
pub(crate) use flash_enabled::attend_packed;

use crate::error::EncoderError;

/// Which device to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A CUDA device where the build and the machine have one, else the CPU (said in a log line).
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of that number; an error where there is none.
    Cuda(usize),
}

impl DeviceChoice {
    /// The device to compute on. [`DeviceChoice::Auto`] never fails.
    ///
    /// # Errors
    /// When a CUDA device is asked for by number and this build or this machine has none.
    pub fn resolve(self) -> Result<Device, EncoderError> {
        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Cuda(ordinal) => {
                cuda::open(ordinal).map_err(|reason| EncoderError::Device { device: self.to_string(), reason })
            }
            DeviceChoice::Auto => match cuda::open(0) {
                Ok(device) => {
                    tracing::info!("computing on CUDA device 0");
                    Ok(device)
                }
                Err(reason) => {
                    tracing::info!(reason, "computing on the CPU");
                    Ok(Device::Cpu)
                }
            },
        }
    }

    /// The devices that work can be spread over: with [`DeviceChoice::Auto`] every CUDA device of the machine, or the CPU
    /// where there is none that can be used (said in a log line); else the one that was asked for. Each was opened once
    /// to find out. [`DeviceChoice::Auto`] never fails, and the result is never empty.
    ///
    /// # Errors
    /// When a CUDA device is asked for by number and this build or this machine has none.
    pub fn resolve_all(self) -> Result<Vec<DeviceChoice>, EncoderError> {
        match self {
            DeviceChoice::Cpu | DeviceChoice::Cuda(_) => self.resolve().map(|_| vec![self]),
            DeviceChoice::Auto => Ok(all_or_cpu(cuda::count(), |ordinal| cuda::open(ordinal).map(drop))),
        }
    }
}

/// Those of a number of CUDA devices that can be opened, or the CPU.
fn all_or_cpu(count: Result<usize, String>, open: impl Fn(usize) -> Result<(), String>) -> Vec<DeviceChoice> {
    let mut devices = Vec::new();
    match count {
        Ok(0) => tracing::info!(reason = "this machine has no CUDA device", "computing on the CPU"),
        Ok(count) => {
            for ordinal in 0..count {
                match open(ordinal) {
                    Ok(()) => devices.push(DeviceChoice::Cuda(ordinal)),
                    Err(reason) => tracing::warn!(reason, "CUDA device {ordinal} cannot be used"),
                }
            }
            match devices.len() {
                0 => tracing::info!(reason = "no CUDA device can be used", "computing on the CPU"),
                usable => tracing::info!("computing on {usable} of {count} CUDA devices"),
            }
        }
        Err(reason) => tracing::info!(reason, "computing on the CPU"),
    }
    if devices.is_empty() { vec![DeviceChoice::Cpu] } else { devices }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => formatter.write_str("auto"),
            DeviceChoice::Cpu => formatter.write_str("cpu"),
            DeviceChoice::Cuda(ordinal) => write!(formatter, "cuda:{ordinal}"),
        }
    }
}

/// A device's name that is none of `auto`, `cpu`, `cuda`, `cuda:N`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a device; expected `auto`, `cpu`, `cuda` or `cuda:N`")]
pub struct ParseDeviceError {
    /// What was given.
    pub given: String,
}

impl FromStr for DeviceChoice {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<DeviceChoice, ParseDeviceError> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            other => {
                let ordinal = other.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
                ordinal.map(DeviceChoice::Cuda).ok_or_else(|| ParseDeviceError { given: text.to_owned() })
            }
        }
    }
}

/// The tensor type of a number type on a device. On the CPU tensors are f32: where bfloat16 is asked for, matrix
/// products round their factors by themselves, and f16 would only be slower than f32.
pub(crate) fn tensor_dtype(dtype: Dtype, device: &Device) -> DType {
    match dtype {
        Dtype::F16 if !device.is_cpu() => DType::F16,
        Dtype::Bf16 if !device.is_cpu() => DType::BF16,
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 => DType::F32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(0), DeviceChoice::Cuda(3)] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        let error = "gpu".parse::<DeviceChoice>().unwrap_err().to_string();
        assert_eq!(error, "`gpu` is not a device; expected `auto`, `cpu`, `cuda` or `cuda:N`");
    }

    #[test]
    fn auto_always_finds_a_device() {
        assert!(DeviceChoice::Auto.resolve().is_ok());
    }

    #[test]
    fn all_usable_cuda_devices_are_taken_else_the_cpu() {
        let all = |count, usable: &[usize]| {
            let open = |ordinal| if usable.contains(&ordinal) { Ok(()) } else { Err("in use".to_owned()) };
            all_or_cpu(count, open)
        };
        assert_eq!(all(Ok(3), &[0, 1, 2]), [DeviceChoice::Cuda(0), DeviceChoice::Cuda(1), DeviceChoice::Cuda(2)]);
        assert_eq!(all(Ok(3), &[0, 2]), [DeviceChoice::Cuda(0), DeviceChoice::Cuda(2)]);
        assert_eq!(all(Ok(1), &[]), [DeviceChoice::Cpu]);
        assert_eq!(all(Ok(0), &[]), [DeviceChoice::Cpu]);
        assert_eq!(all(Err("no driver".to_owned()), &[0]), [DeviceChoice::Cpu]);
    }

    #[test]
    fn one_device_is_spread_over_itself() {
        assert_eq!(DeviceChoice::Cpu.resolve_all().unwrap(), [DeviceChoice::Cpu]);
        assert!(!DeviceChoice::Auto.resolve_all().unwrap().is_empty());
        let far = DeviceChoice::Cuda(4096);
        assert_eq!(far.resolve_all().unwrap_err().to_string(), far.resolve().unwrap_err().to_string());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_cuda_all_devices_are_the_cpu() {
        assert_eq!(DeviceChoice::Auto.resolve_all().unwrap(), [DeviceChoice::Cpu]);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn asking_for_cuda_without_it_says_how_to_get_it() {
        let error = DeviceChoice::Cuda(1).resolve().unwrap_err().to_string();
        assert_eq!(error, "device cuda:1: this program was built without CUDA; build with `--features cuda`");
    }
}
