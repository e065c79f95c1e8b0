//! Getting a checkpoint from the hub into the hub's own cache. Owns the choice of files and what happens offline; the
//! protocol is hf-hub's, which honours `HF_ENDPOINT` and `HF_HOME`. Invariant: all files of a folder are of one commit,
//! and a folder counts as complete only when every file that matters was downloaded.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo, RepoType};

use super::files;
use crate::error::EncoderError;

/// Times a broken download is taken up again.
pub(crate) const DEFAULT_HUB_RETRIES: usize = 3;

/// Length of a full commit id.
const COMMIT_LENGTH: usize = 40;

/// The folder of a revision: from the cache when the revision is a commit that is complete there, else after asking the
/// hub; a complete cached copy of the revision is used, and said, when the hub does not answer.
pub(crate) fn folder(id: &str, revision: &str) -> Result<PathBuf, EncoderError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| EncoderError::Hub {
        id: id.to_owned(),
        revision: revision.to_owned(),
        source,
    };
    if !is_model_id(id) {
        return Err(failed("not a model id; expected `organisation/model` or `model`".into()));
    }
    let cached = CachedRevision::find(id, revision);
    let is_commit = revision.len() == COMMIT_LENGTH && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(cached) = cached.as_ref().filter(|_| is_commit) {
        return Ok(cached.0.clone());
    }
    match download(id, revision) {
        Ok(folder) => Ok(folder),
        Err(error) => match cached {
            Some(cached) => {
                tracing::warn!(id, revision, %error, "the hub does not answer, using the copy in its cache");
                Ok(cached.0)
            }
            None => Err(failed(error)),
        },
    }
}

/// A complete copy of a revision in the hub's cache.
struct CachedRevision(PathBuf);

impl CachedRevision {
    fn find(id: &str, revision: &str) -> Option<CachedRevision> {
        let cache = Cache::from_env();
        let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
        let home = cache.path().join(repo.folder_name());
        let commit = fs_err::read_to_string(home.join("refs").join(revision)).ok()?;
        let commit = commit.trim();
        let folder = home.join("snapshots").join(commit);
        (complete_marker(&home, commit).is_file() && folder.is_dir()).then_some(CachedRevision(folder))
    }
}

/// Says that every file that matters of a commit was downloaded; the cache is shared with programs that fetch less.
fn complete_marker(home: &Path, commit: &str) -> PathBuf {
    home.join("refs").join(format!(".catalens-complete-{commit}"))
}

fn download(id: &str, revision: &str) -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
    let builder = ApiBuilder::from_env().with_progress(false).with_retries(DEFAULT_HUB_RETRIES);
    let api = builder.with_user_agent("catalens", env!("CARGO_PKG_VERSION")).build()?;
    let named = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
    let info = api.repo(named.clone()).info()?;
    if info.sha.is_empty() || !info.sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("the hub answered with the commit `{}`", info.sha).into());
    }
    let wanted: Vec<&str> =
        info.siblings.iter().map(|file| file.rfilename.as_str()).filter(|name| files::can_matter(name)).collect();
    if wanted.is_empty() {
        return Err("the repository has no file of a safetensors checkpoint".into());
    }
    // Every file by commit, so that a push in between cannot mix two versions.
    let pinned = api.repo(Repo::with_revision(id.to_owned(), RepoType::Model, info.sha.clone()));
    for name in wanted {
        tracing::info!(id, name, "getting from the hub");
        pinned.get(name)?;
    }
    let cache = Cache::from_env();
    let home = cache.path().join(named.folder_name());
    cache.repo(named).create_ref(&info.sha)?;
    fs_err::write(complete_marker(&home, &info.sha), b"")?;
    Ok(home.join("snapshots").join(info.sha))
}

/// Whether an id can be put into a URL and a path as it is.
fn is_model_id(id: &str) -> bool {
    let part_ok = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    id.split('/').count() <= 2 && id.split('/').all(part_ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_not_ids_are_refused_without_network() {
        for id in ["", "../x", "a/b/c", "a//b", "http://x/y", "a b"] {
            assert!(!is_model_id(id), "{id}");
        }
        assert!(is_model_id("sentence-transformers/all-MiniLM-L6-v2") && is_model_id("gpt2"));
    }
}
