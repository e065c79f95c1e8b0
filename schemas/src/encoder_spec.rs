//! What identifies an encoder. Owns the record and its fingerprint; loading the encoder is `encoders`' work.
//! Invariant: two specs with one fingerprint give the same embedding for the same content.

use serde::{Deserialize, Serialize};

/// Model family and tower of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// BERT sentence encoder.
    Bert,
    /// XLM-RoBERTa sentence encoder.
    XlmRoberta,
    /// Text tower of a CLIP dual encoder.
    ClipText,
    /// Image tower of a CLIP dual encoder.
    ClipImage,
    /// Text tower of a SigLIP dual encoder.
    SiglipText,
    /// Image tower of a SigLIP dual encoder.
    SiglipImage,
    /// Text tower of a Chinese-CLIP dual encoder.
    ChineseClipText,
    /// Image tower of a Chinese-CLIP dual encoder.
    ChineseClipImage,
}

/// How a sequence of hidden states becomes one embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over the tokens.
    Mean,
    /// The first (CLS) token.
    Cls,
    /// The first end-of-sequence token.
    EndOfSequence,
    /// The last position of the padded sequence.
    Last,
    /// A learned attention pooling head.
    Attention,
}

/// Number type an encoder computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit floating point.
    #[default]
    F32,
    /// 16-bit IEEE floating point.
    F16,
    /// bfloat16.
    Bf16,
}

/// What identifies an encoder: an embedding is reused only while its encoder's spec has the same fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderSpec {
    /// Name for people: the hub id or the folder's last component. Not part of the fingerprint.
    pub name: String,
    /// Model family and tower.
    pub architecture: Architecture,
    /// Fingerprint of the whole checkpoint folder (see [`EncoderSpec::space`]), 16 hexadecimal digits; the folder's
    /// name below `encoders/` in a store.
    pub checkpoint: String,
    /// BLAKE3 of the weights file, 64 hexadecimal digits.
    pub weights: String,
    /// BLAKE3 of the files that decide tokenising or image preprocessing, prompts included, and of the version of our own
    /// part in image preprocessing; 64 hexadecimal digits.
    pub preprocessing: String,
    /// How hidden states become one embedding.
    pub pooling: Pooling,
    /// Length of an embedding.
    pub dimension: usize,
    /// Number type of the computation.
    pub dtype: Dtype,
}

impl EncoderSpec {
    /// 16 hexadecimal digits that identify everything but the name.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let EncoderSpec { name: _, architecture, checkpoint, weights, preprocessing, pooling, dimension, dtype } = self;
        let identity =
            format!("{architecture:?}/{checkpoint}/{weights}/{preprocessing}/{pooling:?}/{dimension}/{dtype:?}");
        blake3::hash(identity.as_bytes()).to_hex()[..16].to_owned()
    }

    /// The space of its embeddings: towers of one checkpoint can be compared with each other, others cannot.
    #[must_use]
    pub fn space(&self) -> &str {
        &self.checkpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> EncoderSpec {
        EncoderSpec {
            name: "all-MiniLM-L6-v2".to_owned(),
            architecture: Architecture::Bert,
            checkpoint: "0123456789abcdef".to_owned(),
            weights: "a".repeat(64),
            preprocessing: "b".repeat(64),
            pooling: Pooling::Mean,
            dimension: 384,
            dtype: Dtype::F32,
        }
    }

    #[test]
    fn everything_but_the_name_is_in_the_fingerprint() {
        let changed = [
            EncoderSpec { architecture: Architecture::XlmRoberta, ..spec() },
            EncoderSpec { checkpoint: "f".repeat(16), ..spec() },
            EncoderSpec { weights: "c".repeat(64), ..spec() },
            EncoderSpec { preprocessing: "c".repeat(64), ..spec() },
            EncoderSpec { pooling: Pooling::Cls, ..spec() },
            EncoderSpec { dimension: 512, ..spec() },
            EncoderSpec { dtype: Dtype::Bf16, ..spec() },
        ];
        for other in changed {
            assert_ne!(other.fingerprint(), spec().fingerprint(), "{other:?}");
        }
        assert_eq!(EncoderSpec { name: "renamed".to_owned(), ..spec() }.fingerprint(), spec().fingerprint());
    }

    #[test]
    fn the_fingerprint_never_changes_between_versions() {
        // The recipe of the format book, by hand; a change of it would encode every catalog anew.
        let identity = format!("Bert/0123456789abcdef/{}/{}/Mean/384/F32", "a".repeat(64), "b".repeat(64));
        assert_eq!(spec().fingerprint(), blake3::hash(identity.as_bytes()).to_hex()[..16]);
    }
}
