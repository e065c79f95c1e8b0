//! Builds without the `cuda` feature: there is never a CUDA device.

use candle_core::Device;

const REASON: &str = "this program was built without CUDA; build with `--features cuda`";

/// Says that this build has no CUDA.
pub(super) fn open(_ordinal: usize) -> Result<Device, String> {
    Err(REASON.to_owned())
}

/// Likewise.
pub(super) fn count() -> Result<usize, String> {
    Err(REASON.to_owned())
}
