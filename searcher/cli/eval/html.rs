//! Text as HTML. Owns escaping, picture addresses and the page's frame; not what stands in it. Invariant: nothing that comes
//! from a catalog, a query or a file name reaches the page but through [`escaped`] or [`picture_address`].

use std::path::{Component, Path};

/// The page's looks; without scripts, fonts or anything else from elsewhere.
const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:78em;padding:0 1em;color:#222}\
    table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}\
    td:first-child,th:first-child{text-align:left}pre{background:#f5f5f5;padding:1em;overflow:auto}\
    .hits{display:grid;grid-template-columns:repeat(auto-fill,minmax(13em,1fr));gap:.6em;margin-bottom:1.5em}\
    .hit{border:1px solid #ddd;border-radius:4px;padding:.5em;overflow-wrap:anywhere}.hit img{max-width:100%;height:9em;object-fit:contain;display:block}\
    .hit small{color:#666}.relevant{border-color:#2a7d2a;background:#f2faf2}.irrelevant{border-color:#b33;background:#fdf3f3}";

/// The text with every character that HTML gives a meaning written as an entity, for elements and quoted attributes; control
/// characters become the replacement character.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The address of a catalog's picture below a folder, percent-encoded; `None` for what is no plain relative path: one with a
/// scheme, a backslash, a root or a way up.
pub(super) fn picture_address(folder: &Path, image: &str) -> Option<String> {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    let first = image.split('/').next().unwrap_or_default();
    if image.is_empty() || image.contains('\\') || first.contains(':') || !Path::new(image).components().all(plain) {
        return None;
    }
    Some(percent_encoded(folder.join(image).to_str()?))
}

/// Letters, digits and `-._~/` as they are, every other byte as `%XX`.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// A table; every cell is escaped.
pub(super) fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let cells = |cells: &[String], tag: &str| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
    };
    let mut html = format!("<table><tr>{}</tr>\n", cells(header, "th"));
    for row in rows {
        html.push_str(&format!("<tr>{}</tr>\n", cells(row, "td")));
    }
    html + "</table>\n"
}

/// A whole page around a body that is HTML already.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'\">\n<title>{title}</title>\n\
         <style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{body}</body></html>\n",
        title = escaped(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        let hostile = "<script>alert('x')</script>\" onload=\"y\" & \u{1b}[2J";
        let safe = escaped(hostile);
        assert_eq!(
            safe,
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; onload=&quot;y&quot; &amp; \u{fffd}[2J"
        );
        let table = table(&[hostile.to_owned()], &[vec![hostile.to_owned()]]);
        assert!(!table.contains("<script") && !page(hostile, "").contains("<script"));
    }

    #[test]
    fn only_plain_relative_paths_are_pictures() {
        let address = |image: &str| picture_address(Path::new("/shop/pictures"), image);
        assert_eq!(address("a/b c.jpg").as_deref(), Some("/shop/pictures/a/b%20c.jpg"));
        assert_eq!(address("\"><img src=x>.png").as_deref(), Some("/shop/pictures/%22%3E%3Cimg%20src%3Dx%3E.png"));
        assert_eq!(address("杯.png").as_deref(), Some("/shop/pictures/%E6%9D%AF.png"));
        for foreign in
            ["", "/etc/passwd", "../x.png", "a/../x.png", "http://x/a.png", "javascript:alert(1)", "a\\b.png"]
        {
            assert_eq!(address(foreign), None, "{foreign}");
        }
    }
}
