//! The third stage: windows to embeddings, on one device. Owns the busy time of the device; not what is computed.
//! Invariant: the embeddings have the order of the window's contents.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use super::EncodeContext;
use super::stages::{FirstError, Halt, StageWatch};
use super::window::{Contents, EncodedWindow, Window};
use super::write::ToWrite;
use crate::encoder_set::LoadedEncoder;
use crate::error::IndexError;

/// Computes windows of the shared queue on the device of that number until there are no more.
pub(super) fn run(
    device: usize,
    context: &EncodeContext<'_>,
    windows: &Receiver<Window>,
    to_write: &Sender<ToWrite>,
    first_error: &FirstError,
    watch: &mut StageWatch,
) -> Result<(), Halt> {
    let encoders = &context.encoders.devices()[device].encoders;
    while let Some(Window { encoder: number, contents, targets, .. }) = watch.receive(windows) {
        first_error.check(context.stop)?;
        let start = Instant::now();
        let embeddings = match (&encoders[number], &contents) {
            (LoadedEncoder::Text(encoder), Contents::Texts(tokens)) => encoder.encode_tokens(tokens),
            (LoadedEncoder::Image(encoder), Contents::Pictures(pictures)) => encoder.encode_pixels(pictures),
            (LoadedEncoder::Text(_), Contents::Pictures(_)) | (LoadedEncoder::Image(_), Contents::Texts(_)) => {
                return Err(IndexError::Inconsistent { reason: "a window for another encoder".to_owned() }.into());
            }
        };
        let embeddings = embeddings.map_err(|source| failed(context, number, source))?;
        let seconds = start.elapsed().as_secs_f64();
        watch.send(to_write, ToWrite::Window(EncodedWindow { embeddings, targets, seconds }))?;
    }
    Ok(())
}

/// The encoder's error, under the name of the first modality that uses it.
pub(super) fn failed(context: &EncodeContext<'_>, encoder: usize, source: encoders::EncoderError) -> IndexError {
    match context.encoders.modalities().iter().find(|one| one.encoder == encoder) {
        Some(one) => IndexError::Encoder { modality: one.modality, source },
        None => IndexError::Device { source },
    }
}
