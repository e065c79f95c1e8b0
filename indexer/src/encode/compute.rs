//! The third stage: windows to embeddings, on one device. Owns the busy time of the device; not what is computed.
//! Invariant: the embeddings have the order of the window's contents.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use encoders::{Embeddings, EncoderError};

use super::EncodeContext;
use super::stages::{Halt, Shared, StageWatch};
use super::window::{Contents, EncodedWindow, Window};
use super::write::ToWrite;
use crate::encoder_set::LoadedEncoder;
use crate::error::IndexError;

/// How a window's contents become embeddings.
pub(super) type EncodeWindow<'a> = dyn Fn(&LoadedEncoder, &Window) -> Result<Embeddings, WindowError> + Sync + 'a;

/// Why a window has no embeddings.
#[derive(Debug)]
pub(super) enum WindowError {
    /// It holds texts and the encoder takes pictures, or the other way round.
    OtherKind,
    /// The encoder failed.
    Encoder(EncoderError),
}

/// The forward pass.
pub(super) fn encode_window(encoder: &LoadedEncoder, window: &Window) -> Result<Embeddings, WindowError> {
    let embeddings = match (encoder, &window.contents) {
        (LoadedEncoder::Text(encoder), Contents::Texts(tokens)) => encoder.encode_tokens(tokens),
        (LoadedEncoder::Image(encoder), Contents::Pictures(pictures)) => encoder.encode_pixels(pictures),
        (LoadedEncoder::Text(_), Contents::Pictures(_)) | (LoadedEncoder::Image(_), Contents::Texts(_)) => {
            return Err(WindowError::OtherKind);
        }
    };
    embeddings.map_err(WindowError::Encoder)
}

/// Computes windows of the shared queue on the device of that number until there are no more.
pub(super) fn run(
    device: usize,
    context: &EncodeContext<'_>,
    encode_window: &EncodeWindow<'_>,
    windows: &Receiver<Window>,
    to_write: &Sender<ToWrite>,
    shared: &Shared,
    watch: &mut StageWatch,
) -> Result<(), Halt> {
    let encoders = &context.encoders.devices()[device].encoders;
    while let Some(window) = watch.receive(windows) {
        shared.first_error.check(context.stop)?;
        let start = Instant::now();
        let embeddings = encode_window(&encoders[window.encoder], &window).map_err(|error| match error {
            WindowError::OtherKind => IndexError::Inconsistent { reason: "a window for another encoder".to_owned() },
            WindowError::Encoder(source) => failed(context, window.encoder, source),
        })?;
        let seconds = start.elapsed().as_secs_f64();
        // What was computed is let go before there is room for what came of it.
        let Window { contents, targets, .. } = window;
        if let Contents::Pictures(pictures) = contents {
            shared.pictures.remove(pictures.len() as u64);
        }
        watch.send(to_write, ToWrite::Window(EncodedWindow { embeddings, targets, seconds }))?;
    }
    Ok(())
}

/// The encoder's error, under the name of the first modality that uses it.
pub(super) fn failed(context: &EncodeContext<'_>, encoder: usize, source: EncoderError) -> IndexError {
    match context.encoders.modalities().iter().find(|one| one.encoder == encoder) {
        Some(one) => IndexError::Encoder { modality: one.modality, source },
        None => IndexError::Device { source },
    }
}
