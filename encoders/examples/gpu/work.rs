//! How much arithmetic encoding is. Owns counting the operations of the matrix products of a transformer from a
//! checkpoint's own config; everything else a tower does is left out, as the share of the device's rate is about them.

use std::error::Error;
use std::path::Path;

use serde_json::Value;

/// The sizes that decide the number of operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    hidden: f64,
    layers: f64,
    intermediate: f64,
    /// Tokens of a picture, and values of a patch; none for texts.
    picture: Option<(f64, f64)>,
}

impl Work {
    /// Of the tower that `section` of the config describes, or of the whole config where it has no such section.
    pub(crate) fn read(folder: &Path, section: &str) -> Result<Work, Box<dyn Error>> {
        let config: Value = serde_json::from_slice(&fs_err::read(folder.join("config.json"))?)?;
        let tower = config.get(section).unwrap_or(&config);
        // What the classes of transformers take where a config says nothing.
        let defaults = if section == "text_config" && config.get(section).is_some() {
            [("hidden_size", 512.0), ("num_hidden_layers", 12.0), ("intermediate_size", 2048.0)]
        } else {
            [("hidden_size", 768.0), ("num_hidden_layers", 12.0), ("intermediate_size", 3072.0)]
        };
        let [hidden, layers, intermediate] =
            defaults.map(|(key, default)| tower.get(key).and_then(Value::as_f64).unwrap_or(default));
        let size = |key: &str, default: f64| tower.get(key).and_then(Value::as_f64).unwrap_or(default);
        let picture = (section == "vision_config").then(|| {
            let patch = size("patch_size", 32.0);
            let side = (size("image_size", 224.0) / patch).floor();
            (side * side, 3.0 * patch * patch)
        });
        Ok(Work { hidden, layers, intermediate, picture })
    }

    /// Operations (a multiplication and an addition are two) for a text of so many tokens.
    pub(crate) fn text(&self, tokens: usize) -> f64 {
        self.sequence(tokens as f64)
    }

    /// Operations for a picture.
    pub(crate) fn image(&self) -> f64 {
        let (tokens, values) = self.picture.unwrap_or_default();
        self.sequence(tokens) + 2.0 * tokens * values * self.hidden
    }

    fn sequence(&self, tokens: f64) -> f64 {
        let maps = 4.0 * self.hidden * self.hidden + 2.0 * self.hidden * self.intermediate;
        let attention = 2.0 * tokens * self.hidden;
        2.0 * self.layers * tokens * (maps + attention)
    }
}
