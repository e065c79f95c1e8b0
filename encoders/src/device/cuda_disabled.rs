//! Builds without the `cuda` feature: there is never a CUDA device.

use candle_core::Device;

/// Says that this build has no CUDA.
pub(super) fn open(_ordinal: usize) -> Result<Device, String> {
    Err("this program was built without CUDA; build with `--features cuda`".to_owned())
}
