//! Files named by path, folder or glob pattern, in one order on every machine.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{DataError, Result};

/// Folders nested deeper than this are taken for a loop of symbolic links.
const MAX_DEPTH: usize = 32;

/// The files that `patterns` name: a file as it is, a folder with everything below it (hidden names left out),
/// or a glob such as `data/**/*.jsonl`. Each pattern's files are sorted by path; a file named twice counts once.
pub(crate) fn expand(patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let found = expand_one(pattern)?;
        if found.is_empty() {
            return Err(DataError::invalid(
                format!("no file matches `{pattern}`"),
                "check the path; patterns are taken relative to the working directory",
            ));
        }
        files.extend(found);
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|path| seen.insert(path.clone()));
    Ok(files)
}

fn expand_one(pattern: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    if path.exists() {
        return below(path);
    }
    if !pattern.contains(['*', '?', '[']) {
        return Err(DataError::invalid(
            format!("`{pattern}` does not exist"),
            "check the path; it is taken relative to the working directory",
        ));
    }
    let matches = glob::glob(pattern)
        .map_err(|error| DataError::invalid(format!("`{pattern}` is not a pattern: {error}"), ""))?;
    let mut files = Vec::new();
    for entry in matches {
        let path = entry.map_err(|error| io_error(error.path(), error.error()))?;
        files.extend(below(&path)?);
    }
    files.sort();
    Ok(files)
}

/// The file itself, or every file below the folder, sorted.
fn below(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(path, 0, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(DataError::invalid(
            format!("folders nest more than {MAX_DEPTH} deep at `{}`", path.display()),
            "is a symbolic link pointing back up?",
        ));
    }
    let kind = fs::metadata(path).map_err(|error| io_error(path, &error))?;
    if kind.is_file() {
        files.push(path.to_owned());
    } else if kind.is_dir() {
        for entry in fs::read_dir(path).map_err(|error| io_error(path, &error))? {
            let entry = entry.map_err(|error| io_error(path, &error))?;
            if !entry.file_name().to_string_lossy().starts_with('.') {
                collect(&entry.path(), depth + 1, files)?;
            }
        }
    } else if depth == 0 {
        return Err(DataError::invalid(
            format!("`{}` is neither a file nor a folder", path.display()),
            "pipes and devices cannot be read twice: save them to a file first",
        ));
    }
    Ok(())
}

/// An [`DataError::Io`] naming the file.
pub(crate) fn io_error(path: &Path, error: &std::io::Error) -> DataError {
    DataError::Io { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn folders_and_globs_are_sorted_and_unique() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/.hidden")).unwrap();
        for name in ["b/2.txt", "b/1.txt", "a.txt", "b/.hidden/x", ".y"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let root = dir.path().to_string_lossy().into_owned();
        let names = |patterns: &[String]| -> Vec<String> {
            let strip = |path: PathBuf| path.strip_prefix(dir.path()).unwrap().to_string_lossy().into_owned();
            expand(patterns).unwrap().into_iter().map(strip).collect()
        };
        assert_eq!(names(std::slice::from_ref(&root)), ["a.txt", "b/1.txt", "b/2.txt"]);
        assert_eq!(names(&[format!("{root}/*/1*"), root.clone()]), ["b/1.txt", "a.txt", "b/2.txt"]);
        assert!(expand(&[format!("{root}/none")]).unwrap_err().to_string().contains("does not exist"));
        assert!(expand(&[format!("{root}/*.gz")]).unwrap_err().to_string().contains("no file matches"));
    }
}
