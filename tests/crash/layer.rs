//! Running a program under the fault layer (`layer.c`). Owns compiling it, asking for a fault, and reading the record of
//! calls; not which faults are tried.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::harness::{Program, root};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The process is killed; in a write, after half of the bytes.
    Kill,
    /// The call fails with EIO, once.
    InputOutput,
    /// From this call on everything that needs room fails with ENOSPC; a write writes half of its bytes first.
    FullDisk,
}

impl Fault {
    pub(crate) const ALL: [Fault; 3] = [Fault::Kill, Fault::InputOutput, Fault::FullDisk];

    fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::InputOutput => "eio",
            Fault::FullDisk => "full",
        }
    }

    /// Whether a message says why: in the operating system's words, or for the vector index, whose library does not
    /// hand them on, by naming what to check.
    pub(crate) fn is_cause_of(self, message: &str) -> bool {
        let words = match self {
            Fault::Kill => return true,
            Fault::InputOutput => "Input/output error",
            Fault::FullDisk => "No space left on device",
        };
        message.contains(words) || (message.contains("fused.usearch") && message.contains("check space and the disk"))
    }
}

/// One recorded call; paths are relative to the store, which itself is the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// `ok`, `failed`, or the fault that hit it: `killed`, `EIO`, `half`, `ENOSPC`.
    pub(crate) result: String,
    pub(crate) path: PathBuf,
    /// The new name in a rename.
    pub(crate) target: PathBuf,
}

impl Call {
    /// Whether a full disk refuses it.
    pub(crate) fn needs_room(&self) -> bool {
        ["create", "mkdir", "write", "link"].contains(&self.name.as_str())
    }

    /// Whether a fault was put in its place.
    pub(crate) fn is_hit(&self) -> bool {
        self.result != "ok" && self.result != "failed"
    }
}

/// The layer, compiled once; `None` (said on standard error) where the kernel has no seccomp filters.
pub(crate) fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let built = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("layer.so");
        let compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-Wall", "-Wextra", "-O2", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(root().join("tests/crash/layer.c"))
            .status()
            .unwrap();
        assert!(compiler.success(), "the fault layer does not compile");
        let tried = Command::new("true")
            .env("LD_PRELOAD", &library)
            .env("FAULT_FOLDER", folder.path())
            .env("FAULT_LOG", folder.path().join("log"))
            .status()
            .unwrap();
        if tried.success() {
            return Some((folder, library));
        }
        eprintln!("skipped: the fault layer does not work here ({tried})");
        None
    });
    built.as_ref().map(|(_, library)| library.as_path())
}

/// Puts a program under the layer: calls below `store` are recorded in `log`, and the one of that number is hit.
pub(crate) fn under(
    library: &Path,
    mut program: Program,
    store: &Path,
    log: &Path,
    fault: Option<(usize, Fault)>,
) -> Program {
    let command = &mut program.0;
    command.env("LD_PRELOAD", library).env("FAULT_FOLDER", store).env("FAULT_LOG", log);
    if let Some((at, fault)) = fault {
        command.env("FAULT_AT", at.to_string()).env("FAULT_KIND", fault.name());
    }
    program
}

/// The record of calls.
pub(crate) fn read_log(log: &Path, store: &Path) -> Vec<Call> {
    let text = fs_err::read_to_string(log).unwrap();
    let relative = |path: &str| Path::new(path).strip_prefix(store).unwrap_or(Path::new(path)).to_owned();
    let parse = |(index, line): (usize, &str)| {
        let [number, name, result, path, target] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("`{line}` is no record of a call")
        };
        assert_eq!(number, (index + 1).to_string(), "calls are numbered from 1");
        Call { name: name.to_owned(), result: result.to_owned(), path: relative(path), target: relative(target) }
    };
    text.lines().enumerate().map(parse).collect()
}
