//! Builds with the `cuda` feature. Owns opening a device so that a machine without driver or libraries is an error like
//! any other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::{DType, Device, Tensor};

/// Opens a device and computes on it once, or says why that is not possible.
pub(super) fn open(ordinal: usize) -> Result<Device, String> {
    // cudarc loads the CUDA libraries when they are first used and panics where one is missing. Nothing of ours is
    // shared with the closure, so there is no broken state to see afterwards.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let device = Device::new_cuda(ordinal)?;
        // A matrix product needs cuBLAS: find out now and not in the middle of a night.
        let probe = Tensor::ones((8, 8), DType::F32, &device)?;
        probe.matmul(&probe)?.to_vec2::<f32>()?;
        Ok(device)
    }));
    match opened {
        Ok(result) => result.map_err(|error: candle_core::Error| error.to_string()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown reason");
            Err(format!("the CUDA libraries cannot be loaded: {words}"))
        }
    }
}
