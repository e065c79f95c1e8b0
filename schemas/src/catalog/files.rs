//! Which files a catalog is, and how their bytes are opened. Owns endings, folders, globs and compression; not rows.
//! Invariant: the same folder gives the same files in the same order.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use fs_err::File;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::CatalogFormat;
use crate::durable::parent;
use crate::error::SchemaError;

/// Bytes that are read ahead from a file and from a decompressor.
const BUFFER_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileKind {
    pub(crate) format: CatalogFormat,
    pub(crate) compression: Compression,
    /// Tabs between the cells of a CSV file instead of commas.
    pub(super) tabs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The files of a catalog; `kinds` runs parallel to `paths`.
#[derive(Debug)]
pub(super) struct FoundFiles {
    pub(super) folder: PathBuf,
    pub(super) paths: Vec<PathBuf>,
    pub(super) kinds: Vec<FileKind>,
}

/// Finds the files of a path that is a file, a folder or a glob.
pub(super) fn find(path: &Path, format: Option<CatalogFormat>) -> Result<FoundFiles, SchemaError> {
    let is_pattern = path.to_string_lossy().contains(WILDCARDS) && !path.exists();
    let (folder, mut files) = if is_pattern {
        (folder_before_wildcard(path), matches(path, format)?)
    } else if fs_err::metadata(path).map_err(SchemaError::io(path))?.is_dir() {
        (path.to_owned(), folder_files(path, format)?)
    } else {
        check_regular(path, path)?;
        (parent(path).to_owned(), vec![(path.to_owned(), kind_or_error(path, path, format)?)])
    };
    if files.is_empty() {
        let format = format.map_or(String::new(), |format| format!(" of the format {format}"));
        return Err(SchemaError::catalog(path, format!("no catalog file{format} found")));
    }
    files.sort_by(|(left, _), (right, _)| left.cmp(right));
    let (paths, kinds) = files.into_iter().unzip();
    Ok(FoundFiles { folder, paths, kinds })
}

/// The catalog files directly in a folder.
fn folder_files(folder: &Path, format: Option<CatalogFormat>) -> Result<Vec<(PathBuf, FileKind)>, SchemaError> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(SchemaError::io(folder))? {
        let path = entry.map_err(SchemaError::io(folder))?.path();
        // In a folder the ending decides alone: whatever else lies there must not be taken for a catalog.
        let wanted = kind_of(&path).filter(|kind| format.is_none_or(|format| format == kind.format));
        if let Some(kind) = wanted
            && !is_hidden(&path)
            && !path.is_dir()
        {
            check_regular(folder, &path)?;
            check_compression(folder, &path, kind)?;
            files.push((path, kind));
        }
    }
    Ok(files)
}

/// The files that match a pattern; a match of unknown format is an error, because it was asked for.
fn matches(pattern: &Path, format: Option<CatalogFormat>) -> Result<Vec<(PathBuf, FileKind)>, SchemaError> {
    let text = pattern.to_str().ok_or_else(|| SchemaError::catalog(pattern, "the pattern is not UTF-8"))?;
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let paths = glob::glob_with(text, options)
        .map_err(|error| SchemaError::catalog(pattern, format!("the pattern is malformed: {error}")))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| SchemaError::Io { path: error.path().to_owned(), source: error.into() })?;
        if !path.is_dir() {
            check_regular(pattern, &path)?;
            files.push((path.clone(), kind_or_error(pattern, &path, format)?));
        }
    }
    Ok(files)
}

fn kind_or_error(catalog: &Path, path: &Path, format: Option<CatalogFormat>) -> Result<FileKind, SchemaError> {
    let (compression, tabs) = match compression_and_ending(path) {
        Some((compression, ending)) => (compression, ending == "tsv"),
        None => (Compression::None, false),
    };
    let kind = match format {
        Some(format) => FileKind { format, compression, tabs },
        None => kind_of(path).ok_or_else(|| {
            let reason = format!("the ending of `{}` does not tell its format; set the format", path.display());
            SchemaError::catalog(catalog, reason)
        })?,
    };
    check_compression(catalog, path, kind)?;
    Ok(kind)
}

/// Opening a pipe waits for its writer, a device may never end, and both can be read once only. A link to nothing is a part
/// of the catalog that would silently be missing.
fn check_regular(catalog: &Path, path: &Path) -> Result<(), SchemaError> {
    if path.is_file() {
        return Ok(());
    }
    let reason = format!("`{}` is no regular file, or a link to nothing; put a file in its place", path.display());
    Err(SchemaError::catalog(catalog, reason))
}

fn check_compression(catalog: &Path, path: &Path, kind: FileKind) -> Result<(), SchemaError> {
    if kind.format == CatalogFormat::Parquet && kind.compression != Compression::None {
        let reason = format!("`{}` is Parquet in another compression, which cannot be read; unpack it", path.display());
        return Err(SchemaError::catalog(catalog, reason));
    }
    Ok(())
}

/// The kind that a file's ending tells.
pub(crate) fn kind_of(path: &Path) -> Option<FileKind> {
    let (compression, ending) = compression_and_ending(path)?;
    let format = match ending.as_str() {
        "jsonl" | "ndjson" | "json" => CatalogFormat::JsonLines,
        "csv" | "tsv" => CatalogFormat::Csv,
        "parquet" => CatalogFormat::Parquet,
        _ => return None,
    };
    Some(FileKind { format, compression, tabs: ending == "tsv" })
}

/// Compression, and the ending before it in lower case.
fn compression_and_ending(path: &Path) -> Option<(Compression, String)> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (compression, name) = match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
        (Some(name), _) => (Compression::Gzip, name),
        (None, Some(name)) => (Compression::Zstd, name),
        (None, None) => (Compression::None, name.as_str()),
    };
    Some((compression, name.rsplit_once('.').map_or("", |(_, ending)| ending).to_owned()))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn folder_before_wildcard(pattern: &Path) -> PathBuf {
    let plain = |component: &Component<'_>| !component.as_os_str().to_string_lossy().contains(WILDCARDS);
    let folder: PathBuf = pattern.components().take_while(plain).collect();
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder }
}

/// Opens a text file: unpacked as a stream, a byte order mark passed over.
pub(crate) fn open_text(path: &Path, compression: Compression) -> Result<Box<dyn BufRead + Send>, SchemaError> {
    let file = File::open(path).map_err(SchemaError::io(path))?;
    let file = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut reader: Box<dyn BufRead + Send> = match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file))),
        Compression::Zstd => {
            let decoder = ZstdDecoder::with_buffer(file).map_err(SchemaError::io(path))?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        }
    };
    let mut start = Vec::with_capacity(BYTE_ORDER_MARK.len());
    let mark_bytes = BYTE_ORDER_MARK.len() as u64;
    reader.by_ref().take(mark_bytes).read_to_end(&mut start).map_err(SchemaError::io(path))?;
    Ok(if start == BYTE_ORDER_MARK { reader } else { Box::new(Cursor::new(start).chain(reader)) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn names(found: &FoundFiles) -> Vec<String> {
        let name = |path: &PathBuf| path.strip_prefix(&found.folder).map(|path| path.display().to_string());
        found.paths.iter().filter_map(|path| name(path).ok()).collect()
    }

    fn folder_with(names: &[&str]) -> std::io::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        for name in names {
            let path = folder.path().join(name);
            fs_err::create_dir_all(parent(&path))?;
            fs_err::write(path, "")?;
        }
        Ok(folder)
    }

    #[test]
    fn a_folder_gives_its_catalog_files_sorted() -> Outcome {
        let names_there = ["b.jsonl", "a.CSV.gz", "c.parquet", ".hidden.jsonl", "photo.jpg", "sub/d.jsonl", "notes"];
        let folder = folder_with(&names_there)?;
        let found = find(folder.path(), None)?;
        assert_eq!(names(&found), ["a.CSV.gz", "b.jsonl", "c.parquet"]);
        assert_eq!(found.folder, folder.path());
        assert_eq!(found.kinds[0].compression, Compression::Gzip);
        assert_eq!(names(&find(folder.path(), Some(CatalogFormat::JsonLines))?), ["b.jsonl"]);
        Ok(())
    }

    #[test]
    fn a_glob_reaches_into_folders_and_its_folder_ends_before_the_wildcard() -> Outcome {
        let folder = folder_with(&["shops/a/1.jsonl", "shops/b/2.tsv", "shops/b/.3.jsonl"])?;
        let found = find(&folder.path().join("shops/*/*"), None)?;
        assert_eq!(names(&found), ["a/1.jsonl", "b/2.tsv"]);
        assert_eq!(found.folder, folder.path().join("shops"));
        assert!(found.kinds[1].tabs);
        assert_eq!(folder_before_wildcard(Path::new("*.jsonl")), Path::new("."));
        Ok(())
    }

    #[test]
    fn what_cannot_be_found_or_read_is_an_error() -> Outcome {
        let folder = folder_with(&["catalog.txt", "packed.parquet.gz"])?;
        let error = |name: &str| find(&folder.path().join(name), None).map(|_| ()).map_err(|error| error.to_string());
        assert!(error("").is_err_and(|text| text.contains("cannot be read; unpack it")));
        assert!(error("catalog.txt").is_err_and(|text| text.contains("set the format")));
        assert!(error("*.jsonl").is_err_and(|text| text.ends_with("no catalog file found")));
        assert!(error("a***b").is_err_and(|text| text.contains("malformed")));
        assert!(matches!(find(&folder.path().join("missing"), None), Err(SchemaError::Io { .. })));
        assert!(find(&folder.path().join("catalog.txt"), Some(CatalogFormat::Csv)).is_ok());
        Ok(())
    }

    #[test]
    fn packed_files_of_several_members_are_unpacked_whole() -> Outcome {
        let folder = tempfile::tempdir()?;
        let (gzip, zstd) = (folder.path().join("a.gz"), folder.path().join("a.zst"));
        let mut members = Vec::new();
        for part in ["one\n", "two\n"] {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(part.as_bytes())?;
            members.extend(encoder.finish()?);
        }
        fs_err::write(&gzip, &members)?;
        let frames = [zstd::encode_all("one\n".as_bytes(), 1)?, zstd::encode_all("two\n".as_bytes(), 1)?];
        fs_err::write(&zstd, frames.concat())?;
        for (path, compression) in [(&gzip, Compression::Gzip), (&zstd, Compression::Zstd)] {
            let mut text = String::new();
            open_text(path, compression)?.read_to_string(&mut text)?;
            assert_eq!(text, "one\ntwo\n");
        }
        fs_err::write(&gzip, &members[..members.len() - 9])?;
        assert!(open_text(&gzip, Compression::Gzip)?.read_to_end(&mut Vec::new()).is_err());
        Ok(())
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() -> Outcome {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a");
        for (bytes, expected) in [("\u{feff}ab", "ab"), ("ab", "ab"), ("\u{feff}", ""), ("", "")] {
            fs_err::write(&path, bytes)?;
            let mut text = String::new();
            open_text(&path, Compression::None)?.read_to_string(&mut text)?;
            assert_eq!(text, expected);
        }
        Ok(())
    }
}
