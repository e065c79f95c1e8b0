//! The published snapshot of a store, and the ones published after it. Owns finding, opening and replacing it while
//! queries run; not publishing. Invariant: what is handed out is one whole snapshot; a query that has begun ends on the
//! snapshot it began on.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use schemas::{SchemaError, SnapshotId, Store};

use crate::error::SearchError;
use crate::snapshot::{OpenOptions, Searcher};

/// How often [`Searcher::open_current`] looks again when the snapshot it opens is replaced and removed meanwhile. Each time
/// takes a publish and a prune in the instant between reading `CURRENT` and taking hold of the snapshot.
const OPEN_ATTEMPTS: usize = 16;

impl Searcher {
    /// Opens the published snapshot of a store; also says which it is. A publish or a prune that happens meanwhile does no
    /// harm: what is opened is the old snapshot or the new one, whole.
    ///
    /// # Errors
    /// As [`Searcher::open`], and when nothing is published.
    pub fn open_current(store: &Path, options: &OpenOptions) -> Result<(SnapshotId, Searcher), SearchError> {
        open_published(&Store::open(store)?, options)
    }
}

/// The published snapshot of a store for a service that runs for days: [`CurrentSearcher::refresh`] moves to a newly
/// published one while queries on the old one go on. `Send + Sync`; share it in an [`Arc`].
///
/// ```
/// use searcher::{CurrentSearcher, OpenOptions, Query};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # searcher::example::write_store(folder.path(), &searcher::example::items())?;
/// # let store = folder.path();
/// let current = CurrentSearcher::open(store, &OpenOptions::default())?;
/// // In the thread of a request: what this handle answers is one snapshot, whatever is published meanwhile.
/// let searcher = current.searcher();
/// assert_eq!(searcher.search(&Query { mode: searcher::Mode::Keyword, ..Query::text("red") })?.total, 3);
/// // Every minute, in one thread: nothing new was published.
/// assert_eq!(current.refresh()?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CurrentSearcher {
    store: Store,
    options: OpenOptions,
    published: RwLock<Published>,
    /// Held while the next snapshot is opened, so that several threads that refresh open it once.
    refreshing: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Published {
    snapshot: SnapshotId,
    searcher: Arc<Searcher>,
}

impl CurrentSearcher {
    /// Opens the published snapshot of a store.
    ///
    /// # Errors
    /// As [`Searcher::open_current`].
    pub fn open(store: &Path, options: &OpenOptions) -> Result<CurrentSearcher, SearchError> {
        let store = Store::open(store)?;
        let (snapshot, searcher) = open_published(&store, options)?;
        let published = RwLock::new(Published { snapshot, searcher: Arc::new(searcher) });
        Ok(CurrentSearcher { store, options: options.clone(), published, refreshing: Mutex::new(()) })
    }

    /// The snapshot that [`CurrentSearcher::refresh`] last moved to. Keep the handle for one request, not longer: as long
    /// as somebody has it the snapshot stays in memory and on disk. Never waits for a refresh.
    #[must_use]
    pub fn searcher(&self) -> Arc<Searcher> {
        self.published().searcher
    }

    /// Its id.
    #[must_use]
    pub fn snapshot(&self) -> SnapshotId {
        self.published().snapshot
    }

    /// Moves to the published snapshot if that is another one; says which, `None` when there is nothing new. That costs
    /// one small read; a new snapshot costs as much as [`Searcher::open`], in this thread, while the old one goes on
    /// answering. Query encoders that are loaded and that the new snapshot names too are kept.
    ///
    /// # Errors
    /// When `CURRENT` or the new snapshot cannot be read. The old one goes on answering; try again later.
    pub fn refresh(&self) -> Result<Option<SnapshotId>, SearchError> {
        // The guarded value is `()`: a panic of another thread leaves nothing half changed.
        let _alone = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.published();
        if self.store.current()?.as_ref() == Some(&old.snapshot) {
            return Ok(None);
        }
        let (snapshot, mut searcher) = open_published(&self.store, &self.options)?;
        if snapshot == old.snapshot {
            return Ok(None);
        }
        searcher.encoders.keep_loaded(&old.searcher.encoders);
        let published = Published { snapshot: snapshot.clone(), searcher: Arc::new(searcher) };
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = published;
        Ok(Some(snapshot))
    }

    fn published(&self) -> Published {
        // Written whole, so poison means nothing.
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn open_published(store: &Store, options: &OpenOptions) -> Result<(SnapshotId, Searcher), SearchError> {
    let encoders_folder = options.encoders_folder.clone().unwrap_or_else(|| store.encoders_folder());
    let options = OpenOptions { encoders_folder: Some(encoders_folder), ..options.clone() };
    let mut snapshot = current(store)?;
    for _ in 1..OPEN_ATTEMPTS {
        match Searcher::open(&store.snapshot_folder(&snapshot), &options) {
            Ok(searcher) => return Ok((snapshot, searcher)),
            Err(error) => {
                // What is published is never removed, so an error of what still is published is its own.
                let newer = current(store)?;
                if newer == snapshot {
                    return Err(error);
                }
                snapshot = newer;
            }
        }
    }
    let searcher = Searcher::open(&store.snapshot_folder(&snapshot), &options)?;
    Ok((snapshot, searcher))
}

fn current(store: &Store) -> Result<SnapshotId, SearchError> {
    let nothing = || SchemaError::NothingPublished { path: store.folder().to_owned() };
    Ok(store.current()?.ok_or_else(nothing)?)
}
