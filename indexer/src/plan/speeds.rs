//! How fast encoders were on a store, from its reports. Owns which measurement counts; not the reports. Invariant: a
//! report that cannot be read or has no speed costs the estimate, not the plan.

use std::path::Path;

use serde_json::Value;

use crate::error::IndexError;

/// Embeddings below which a measurement gives way to an older one of more: starting up is a part of it.
const RELIABLE_EMBEDDINGS: u64 = 1_000;

/// All measurements of a store, the newest first.
#[derive(Debug, Default)]
pub(super) struct Speeds(Vec<Speed>);

/// A measurement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Speed {
    /// Name of the report's file.
    pub(super) report: String,
    /// Over all devices of that run.
    pub(super) embeddings_per_second: f64,
    modality: String,
    encoder: String,
    embeddings: u64,
}

impl Speeds {
    /// Reads the reports of a store.
    pub(super) fn read(folder: &Path) -> Result<Speeds, IndexError> {
        let mut names = Vec::new();
        if folder.is_dir() {
            for entry in fs_err::read_dir(folder).map_err(IndexError::io(folder))? {
                let name = entry.map_err(IndexError::io(folder))?.file_name().to_string_lossy().into_owned();
                if name.ends_with(".json") && !name.starts_with('.') {
                    names.push(name);
                }
            }
        }
        // Names begin with the time of the run's start.
        names.sort_unstable_by(|left, right| right.cmp(left));
        let reports = names.into_iter().filter_map(|name| {
            let text = fs_err::read(folder.join(&name)).ok()?;
            Some((name, serde_json::from_slice(&text).ok()?))
        });
        Ok(Speeds(reports.flat_map(|(name, report)| speeds(&name, &report)).collect()))
    }

    /// The measurement of an encoder: of the same modality before another one's, of many embeddings before few, the
    /// newest before older ones.
    pub(super) fn of(&self, modality: &str, encoder: &str) -> Option<&Speed> {
        let candidates = self.0.iter().filter(|speed| speed.encoder == encoder).rev();
        candidates.max_by_key(|speed| (speed.modality == modality, speed.embeddings >= RELIABLE_EMBEDDINGS))
    }
}

fn speeds(name: &str, report: &Value) -> Vec<Speed> {
    let pipeline = &report["pipeline"];
    let devices = pipeline["devices"].as_array().map_or(1, Vec::len).max(1) as f64;
    let modalities = pipeline["modalities"].as_object().into_iter().flatten();
    let speed = |(modality, work): (&String, &Value)| {
        let each = work["embeddings_per_second"].as_f64().filter(|speed| *speed > 0.0)?;
        Some(Speed {
            report: name.to_owned(),
            embeddings_per_second: each * devices,
            modality: modality.clone(),
            encoder: work["encoder"].as_str()?.to_owned(),
            embeddings: work["embeddings"].as_u64()?,
        })
    };
    modalities.filter_map(speed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(modality: &str, encoder: &str, embeddings: u64, speed: Option<f64>, devices: &[&str]) -> String {
        let work = json!({"encoder": encoder, "embeddings": embeddings, "embeddings_per_second": speed});
        json!({"pipeline": {"devices": devices, "modalities": {modality: work}}}).to_string()
    }

    #[test]
    fn the_newest_reliable_measurement_of_the_same_encoder_counts() -> Result<(), IndexError> {
        let folder = tempfile::tempdir().map_err(IndexError::io(Path::new("temporary")))?;
        let files = [
            ("20261118T031500Z.json", report("title", "a", 5_000, Some(50.0), &["cpu"])),
            ("20261119T031500Z.partition-1-of-2.json", report("title", "a", 9_000, Some(40.0), &["cuda:0", "cuda:1"])),
            ("20261120T031500Z.json", report("title", "a", 3, Some(2.0), &["cpu"])),
            ("20261121T031500Z.json", report("title", "a", 0, None, &["cpu"])),
            ("20261122T031500Z.json", report("description", "a", 4_000, Some(7.0), &["cpu"])),
            ("20261123T031500Z.json", report("title", "b", 10, Some(3.0), &["cpu"])),
            ("20261124T031500Z.json", "no JSON".to_owned()),
            ("20261125T031500Z.rejects.parquet", String::new()),
        ];
        for (name, text) in files {
            let path = folder.path().join(name);
            fs_err::write(&path, text).map_err(IndexError::io(&path))?;
        }
        let speeds = Speeds::read(folder.path())?;
        let found = |modality, encoder| speeds.of(modality, encoder).map(|speed| speed.embeddings_per_second);
        assert_eq!(found("title", "a"), Some(80.0));
        assert_eq!(found("description", "a"), Some(7.0));
        assert_eq!(found("image", "a"), Some(7.0));
        assert_eq!(found("title", "b"), Some(3.0));
        assert_eq!(found("title", "c"), None);
        assert!(Speeds::read(&folder.path().join("missing"))?.of("title", "a").is_none());
        Ok(())
    }
}
