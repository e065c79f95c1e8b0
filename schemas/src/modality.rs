//! The modalities an item can have. Owns their names and order; not what encodes them.
//! Invariant: [`Modality::ALL`] is the order of columns and blocks in every file.

use serde::{Deserialize, Serialize};

/// One side of an item that an encoder can turn into an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// The item's title.
    Title,
    /// The item's description.
    Description,
    /// The item's picture.
    Image,
}

impl Modality {
    /// All modalities, in the order in which files list them.
    pub const ALL: [Modality; 3] = [Modality::Title, Modality::Description, Modality::Image];

    /// The name in files, configuration and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Modality::Title => "title",
            Modality::Description => "description",
            Modality::Image => "image",
        }
    }

    /// The modality of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Modality> {
        Modality::ALL.into_iter().find(|modality| modality.name() == name)
    }

    /// Whether a text encoder (true) or an image encoder (false) embeds it.
    #[must_use]
    pub fn is_text(self) -> bool {
        match self {
            Modality::Title | Modality::Description => true,
            Modality::Image => false,
        }
    }
}

impl std::fmt::Display for Modality {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_order_are_those_of_the_files() -> Result<(), serde_json::Error> {
        let names = Modality::ALL.map(Modality::name);
        assert_eq!(names, ["title", "description", "image"]);
        assert!(Modality::ALL.is_sorted());
        for modality in Modality::ALL {
            assert_eq!(Modality::from_name(modality.name()), Some(modality));
            assert_eq!(serde_json::to_string(&modality)?, format!("\"{modality}\""));
        }
        assert_eq!(Modality::from_name("video"), None);
        Ok(())
    }
}
