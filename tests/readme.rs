//! The commands that README and the book of ranking show run as they stand there, in a folder with the fixture's store.

use crate::harness::{Folder, fixture_store, indexer, root, searcher};

/// The commands of a document's blocks of text, as words; those whose flags need files that only a shop has are left out.
fn commands(document: &str) -> Vec<Vec<String>> {
    let text = fs_err::read_to_string(root().join(document)).unwrap();
    let mut found = Vec::new();
    for block in text.split("```text\n").skip(1) {
        let block = block.split("```").next().unwrap().replace("\\\n", " ");
        for line in block.lines() {
            let line = line.strip_prefix("$ ").unwrap_or(line);
            let words = words(line);
            let program = words.first().map(String::as_str);
            let is_ours = ["searcher", "indexer"].map(Some).contains(&program);
            let on_fixture = words.windows(2).any(|pair| pair == ["--store", "store"]);
            if is_ours && on_fixture && !line.contains('$') {
                found.push(words);
            }
        }
    }
    found
}

/// A line as a shell reads it: words, quotes, a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ') => words.extend(word.take()),
            (_, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[test]
fn the_documents_commands_run() {
    let folder = Folder::new();
    std::os::unix::fs::symlink(fixture_store(), folder.path("store")).unwrap();
    std::os::unix::fs::symlink(root().join("fixtures"), folder.path("fixtures")).unwrap();
    folder.write("history.jsonl", "{\"id\": \"p0925\", \"time\": 1794508200}\n");
    folder.write("synonyms.txt", "mug, cup\n");
    let mut ran = 0;
    for document in ["README.md", "docs/ranking.md"] {
        for command in commands(document) {
            let arguments = command[1..].iter().map(String::as_str);
            let mut program = if command[0] == "searcher" { searcher(arguments) } else { indexer(arguments) };
            // Training takes long, and is tested by itself.
            if command[1] == "learn" {
                program = program.arg("--help");
            }
            program.0.current_dir(folder.path("."));
            let output = program.output();
            assert_eq!(output.code, Some(0), "{document}: {command:?}\n{output}");
            ran += 1;
        }
    }
    assert!(ran >= 18, "only {ran} commands were found");
}

#[test]
fn lines_are_split_as_a_shell_does() {
    assert_eq!(
        words(r#"searcher search '"a b" -c' --filter "x = 'y'"   # why"#),
        ["searcher", "search", "\"a b\" -c", "--filter", "x = 'y'"]
    );
    assert!(words("# only a comment").is_empty());
}
