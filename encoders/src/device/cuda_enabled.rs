//! Builds with the `cuda` feature. Owns counting and opening devices so that a machine without driver or libraries is an
//! error like any other.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use candle_core::cuda_backend::cudarc::driver::CudaContext;
use candle_core::{DType, Device, Error, Tensor};

thread_local! {
    /// Whether a panic of this thread is an answer and not to be reported.
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Opens a device and computes on it once, or says why that is not possible.
pub(super) fn open(ordinal: usize) -> Result<Device, String> {
    guarded(|| {
        // One stream for all threads that use the device. candle's other kind has one per thread and nothing that makes a
        // thread wait for what another one has put on the device, weights for example.
        let device = Device::new_cuda_with_stream(ordinal)?;
        // A matrix product needs cuBLAS: find out now and not in the middle of a night.
        let probe = Tensor::ones((8, 8), DType::F32, &device)?;
        probe.matmul(&probe)?.to_vec2::<f32>()?;
        Ok(device)
    })
}

/// Number of CUDA devices of this machine.
pub(super) fn count() -> Result<usize, String> {
    guarded(|| {
        let count = CudaContext::device_count().map_err(Error::wrap)?;
        Ok(usize::try_from(count).unwrap_or(0))
    })
}

/// cudarc loads the CUDA libraries when they are first used and panics where one is missing. Nothing of ours is shared
/// with the closure, so there is no broken state to see afterwards.
fn guarded<T>(use_cuda: impl FnOnce() -> Result<T, Error>) -> Result<T, String> {
    static SILENCED: Once = Once::new();
    // The reason is returned: a machine without GPU is nothing that should look like a crash. Other threads' panics, and
    // later ones of this thread, are reported as before.
    SILENCED.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !SILENT.get() {
                report(panic);
            }
        }));
    });
    SILENT.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(use_cuda));
    SILENT.set(false);
    match result {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown reason");
            // cudarc goes on with every file name that it tried.
            let words = words.split(" - searched").next().unwrap_or(words);
            Err(format!("the CUDA libraries cannot be loaded: {words}"))
        }
    }
}
