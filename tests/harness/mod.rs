//! A folder, a program in it, and what it printed. Owns running the two binaries and the shared fixture store; not
//! what is expected of them. Invariant: a failed expectation shows command, exit code and both outputs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with real catalogs and models, or `None` (said on standard error) where it is not there.
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("CATALENS_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: `{}` is not there; set CATALENS_SHARED", folder.display());
    None
}

/// A temporary folder for one test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with its folders.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, content).unwrap();
        path
    }

    /// Writes a picture of one colour in the format that the name's ending says.
    pub(crate) fn picture(&self, name: &str, width: u32, height: u32, colour: [u8; 3]) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(width, height, image::Rgb(colour)).save(&path).unwrap();
        path
    }

    /// Writes `catalens.toml` for a store and a catalog in this folder, with more sections.
    pub(crate) fn config(&self, catalog: &str, sections: &str) -> PathBuf {
        let text = format!("[store]\npath = 'store'\n[catalog]\npath = '{catalog}'\n{sections}");
        self.write("catalens.toml", text)
    }

    /// `indexer run` with this folder's `catalens.toml`.
    pub(crate) fn run(&self) -> Output {
        indexer(["run", "--json", "--config"]).arg(self.path("catalens.toml")).output()
    }

    /// As [`Folder::run`], with another catalog.
    pub(crate) fn run_catalog(&self, catalog: &str) -> Output {
        indexer(["run", "--json", "--catalog", catalog, "--config"]).arg(self.path("catalens.toml")).output()
    }

    /// As [`Folder::run`], and its peak resident memory in MiB.
    pub(crate) fn run_and_peak(&self) -> (Output, u64) {
        indexer(["run", "--json", "--config"]).arg(self.path("catalens.toml")).output_and_peak()
    }

    /// The report of an `indexer run` that must publish.
    pub(crate) fn publish(&self) -> Value {
        self.run().expect_code(0).json()
    }

    /// `searcher search` in this folder's store.
    pub(crate) fn search(&self, arguments: &[&str]) -> Output {
        searcher(["search", "--store"]).arg(self.path("store")).args(arguments).output()
    }

    /// Ids of the hits of a search that must find something.
    pub(crate) fn hits(&self, arguments: &[&str]) -> Vec<String> {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        ids(&self.search(&arguments).expect_code(0).json())
    }
}

/// The ids of the hits in a result.
pub(crate) fn ids(result: &Value) -> Vec<String> {
    result["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect()
}

/// Sections that encode all modalities with the fixture's model.
pub(crate) fn fixture_encoders() -> String {
    let model = root().join("fixtures/model");
    ["title", "description", "image"]
        .map(|modality| format!("[encoders.{modality}]\nmodel = '{}'\n", model.display()))
        .concat()
}

/// A program with arguments.
pub(crate) struct Program(pub(crate) Command);

pub(crate) fn indexer<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Program {
    Program::new(env!("CARGO_BIN_EXE_indexer"), arguments)
}

pub(crate) fn searcher<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Program {
    Program::new(env!("CARGO_BIN_EXE_searcher"), arguments)
}

impl Program {
    fn new<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Program {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_remove("CATALENS_STORE")
            .env_remove("CATALENS_LOG")
            .env_remove("CATALENS_LOG_FORMAT")
            .stdin(Stdio::null());
        Program(command)
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Program {
        self.0.arg(argument);
        self
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Program {
        self.0.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Program {
        self.0.env(name, value);
        self
    }

    /// Runs it to its end.
    pub(crate) fn output(mut self) -> Output {
        let output = self.0.output().unwrap();
        Output {
            command: format!("{:?}", self.0),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it to its end; also its peak resident memory in MiB, looked at every millisecond.
    pub(crate) fn output_and_peak(mut self) -> (Output, u64) {
        let child = self.0.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        // The figure only grows, and is gone when the process has ended.
        let watch = std::thread::spawn(move || {
            let mut peak = 0;
            while let Some(kib) = fs_err::read_to_string(&status).ok().and_then(|text| peak_kib(&text)) {
                peak = kib;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            peak / 1024
        });
        let output = child.wait_with_output().unwrap();
        let output = Output {
            command: format!("{:?}", self.0),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let peak = watch.join().unwrap();
        assert!(peak > 0, "its memory was never seen\n{output}");
        (output, peak)
    }

    /// Starts it, its outputs thrown away.
    pub(crate) fn spawn(mut self) -> Child {
        self.0.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// `VmHWM` of `/proc/PID/status`.
fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// What a program printed.
pub(crate) struct Output {
    command: String,
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Output {
        assert_eq!(self.code, Some(code), "exit code\n{self}");
        self
    }

    /// Asserts that standard error contains every word.
    #[track_caller]
    pub(crate) fn expect_stderr(self, words: &[&str]) -> Output {
        for word in words {
            assert!(self.stderr.contains(word), "standard error does not contain `{word}`\n{self}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output { command, code, stdout, stderr } = self;
        write!(formatter, "command: {command}\nexit code: {code:?}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }
}

/// The fixture's store, published once for all tests that only read it.
pub(crate) fn fixture_store() -> &'static Path {
    static STORE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let config = root().join("fixtures/catalens.toml");
        indexer(["run", "--json", "--config"]).arg(config).arg("--store").arg(&store).output().expect_code(0);
        (folder, store)
    });
    store
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs_err::copy(entry.path(), target).unwrap();
        }
    }
}
