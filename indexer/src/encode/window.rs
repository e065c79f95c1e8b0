//! What a device computes at once, and where its embeddings belong. Owns collecting contents from several chunks and
//! computing equal ones once; not the computing. Invariant: all contents of a window are for one encoder, and every row
//! of a chunk and modality is wanted by at most one window.

use std::collections::HashMap;

use encoders::{Embeddings, Pixels, Tokens};
use schemas::ContentHash;

/// Contents ready for the forward pass.
#[derive(Debug)]
pub(super) enum Contents {
    Texts(Vec<Tokens>),
    Pictures(Vec<Pixels>),
}

/// One content ready for the forward pass.
#[derive(Debug)]
pub(super) enum Content {
    Text(Tokens),
    Picture(Pixels),
}

/// A window, while it is filled and while it waits.
#[derive(Debug)]
pub(super) struct Window {
    /// Number of the encoder.
    pub(super) encoder: usize,
    pub(super) contents: Contents,
    pub(super) targets: Targets,
    /// Contents by their hash.
    numbers: HashMap<ContentHash, usize>,
}

/// Where the embeddings of a window belong.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// By chunk, in the order of the chunks.
    pub(super) chunks: Vec<ChunkTargets>,
    /// Work by number of the modality; of a content that several want, for the first.
    pub(super) shares: Vec<Share>,
}

/// Rows of one chunk that want embeddings of a window.
#[derive(Debug)]
pub(super) struct ChunkTargets {
    pub(super) chunk: u64,
    /// Rows of the whole chunk.
    pub(super) chunk_rows: usize,
    pub(super) targets: Vec<Target>,
}

/// A row's modality and the number of its content in the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) modality: usize,
    pub(super) row: usize,
    pub(super) content: usize,
}

/// Work in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) contents: u64,
    pub(super) tokens: u64,
    pub(super) pictures: u64,
}

/// A computed window.
#[derive(Debug)]
pub(super) struct EncodedWindow {
    pub(super) embeddings: Embeddings,
    pub(super) targets: Targets,
    /// Seconds that the device was busy with it.
    pub(super) seconds: f64,
}

impl Window {
    pub(super) fn texts(encoder: usize) -> Window {
        Window::new(encoder, Contents::Texts(Vec::new()))
    }

    pub(super) fn pictures(encoder: usize) -> Window {
        Window::new(encoder, Contents::Pictures(Vec::new()))
    }

    fn new(encoder: usize, contents: Contents) -> Window {
        Window { encoder, contents, targets: Targets::default(), numbers: HashMap::new() }
    }

    /// Different contents in it.
    pub(super) fn len(&self) -> usize {
        match &self.contents {
            Contents::Texts(texts) => texts.len(),
            Contents::Pictures(pictures) => pictures.len(),
        }
    }

    /// The chunk that has waited longest.
    pub(super) fn first_chunk(&self) -> Option<u64> {
        self.targets.chunks.first().map(|one| one.chunk)
    }

    /// Takes what was collected and starts an empty window of the same encoder.
    pub(super) fn take(&mut self) -> Window {
        let empty = match self.contents {
            Contents::Texts(_) => Window::texts(self.encoder),
            Contents::Pictures(_) => Window::pictures(self.encoder),
        };
        std::mem::replace(self, empty)
    }

    /// Adds what a row of a chunk wants. A content of the other kind than the window's is a mistake of the caller and is
    /// left out, so that the row never finishes and the pipeline says so.
    pub(super) fn add(
        &mut self,
        (chunk, chunk_rows): (u64, usize),
        (modality, row): (usize, usize),
        hash: ContentHash,
        content: Content,
    ) {
        let next = self.len();
        let number = *self.numbers.entry(hash).or_insert(next);
        if number == next {
            if self.targets.shares.len() <= modality {
                self.targets.shares.resize(modality + 1, Share::default());
            }
            let share = &mut self.targets.shares[modality];
            match (&mut self.contents, content) {
                (Contents::Texts(texts), Content::Text(tokens)) => {
                    share.tokens += tokens.0.len() as u64;
                    texts.push(tokens);
                }
                (Contents::Pictures(pictures), Content::Picture(pixels)) => {
                    share.pictures += 1;
                    pictures.push(pixels);
                }
                (Contents::Texts(_), Content::Picture(_)) | (Contents::Pictures(_), Content::Text(_)) => return,
            }
            share.contents += 1;
        }
        if self.targets.chunks.last().is_none_or(|last| last.chunk != chunk) {
            self.targets.chunks.push(ChunkTargets { chunk, chunk_rows, targets: Vec::new() });
        }
        if let Some(last) = self.targets.chunks.last_mut() {
            last.targets.push(Target { modality, row, content: number });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(word: &str) -> (ContentHash, Content) {
        (ContentHash::of(word.as_bytes()), Content::Text(Tokens(vec![1; word.len()])))
    }

    #[test]
    fn equal_contents_are_computed_once_and_reach_every_row_that_wants_them() {
        let mut window = Window::texts(0);
        for (chunk, modality, row, word) in [(0, 0, 0, "cup"), (0, 1, 0, "cup"), (0, 1, 2, "red cup"), (3, 0, 1, "cup")]
        {
            let (hash, content) = text(word);
            window.add((chunk, 4), (modality, row), hash, content);
        }
        assert_eq!((window.len(), window.first_chunk()), (2, Some(0)));
        let share = |contents, tokens| Share { contents, tokens, pictures: 0 };
        assert_eq!(window.targets.shares, [share(1, 3), share(1, 7)]);
        let taken = window.take();
        assert_eq!((window.len(), window.first_chunk()), (0, None));
        let targets: Vec<(u64, usize, usize, usize)> = taken
            .targets
            .chunks
            .iter()
            .flat_map(|one| one.targets.iter().map(|target| (one.chunk, target.modality, target.row, target.content)))
            .collect();
        assert_eq!(targets, [(0, 0, 0, 0), (0, 1, 0, 0), (0, 1, 2, 1), (3, 0, 1, 0)]);
    }
}
