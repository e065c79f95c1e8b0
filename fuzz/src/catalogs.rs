//! Catalogs in every format. Invariant: every row comes out once, with a line number that never falls, as an item with text
//! within its bounds or as a rejection with a short reason; nothing follows an error.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use parquet::arrow::ArrowWriter;
use schemas::catalog::{Catalog, CatalogConfig, CatalogField, CatalogFormat, MAX_ID_BYTES, MAX_ROW_TEXT_BYTES};
use schemas::{FieldSpec, FieldType};
use tempfile::TempDir;

/// Bytes of a reason or a message at most: they go to reports and logs.
pub(crate) const MAX_REASON_BYTES: usize = 4096;

thread_local! {
    /// Folder of the catalog that is read.
    static FOLDER: TempDir = crate::folder_in_memory();
}

/// Whether the row became an item, and its line.
type Row = (bool, u64);

fn config(path: &Path, format: CatalogFormat) -> CatalogConfig {
    let field = |name: &str, r#type| CatalogField {
        column: name.to_owned(),
        spec: FieldSpec { name: name.to_owned(), r#type, searched: false },
    };
    CatalogConfig {
        path: path.to_owned(),
        format: Some(format),
        id_column: "id".to_owned(),
        title_column: "title".to_owned(),
        description_column: Some("text".to_owned()),
        image_column: Some("image".to_owned()),
        fields: vec![
            field("tags", FieldType::Strings),
            field("stock", FieldType::Integer),
            field("price", FieldType::Float),
            field("new", FieldType::Boolean),
            field("category", FieldType::Category),
        ],
        list_separator: '|',
    }
}

/// The rows of a catalog with these bytes; `None` when its reading ended with an error.
fn rows(name: &str, format: CatalogFormat, data: &[u8]) -> Option<Vec<Row>> {
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        fs_err::write(&path, data).unwrap();
        let catalog = Catalog::open(&config(&path, format)).unwrap();
        let mut rows = Vec::new();
        let mut ended = false;
        for row in catalog.rows() {
            assert!(!ended, "a row after an error");
            match row {
                Ok(Ok(item)) => {
                    assert!(!item.id.trim().is_empty() && item.id.len() <= MAX_ID_BYTES);
                    let has_text = item.title.is_some() || item.description.is_some();
                    assert!(
                        has_text || item.image != schemas::ImageSource::Absent,
                        "an item with nothing to find it by"
                    );
                    let texts = [&item.title, &item.description];
                    assert!(texts.into_iter().flatten().map(String::len).sum::<usize>() <= MAX_ROW_TEXT_BYTES);
                    assert_eq!(item.fields.len(), 5);
                    rows.push((true, item.location.line));
                }
                Ok(Err(rejection)) => {
                    assert!(rejection.to_string().len() <= MAX_REASON_BYTES, "{rejection}");
                    rows.push((false, rejection.location.line));
                }
                Err(error) => {
                    assert!(error.to_string().len() <= MAX_REASON_BYTES, "{error}");
                    ended = true;
                }
            }
        }
        assert!(rows.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{rows:?}");
        (!ended).then_some(rows)
    })
}

/// Rows are exactly the lines that are not blank.
pub(crate) fn json_lines(data: &[u8]) {
    let rows = rows("catalog.jsonl", CatalogFormat::JsonLines, data).unwrap();
    let data = data.strip_prefix("\u{feff}".as_bytes()).unwrap_or(data);
    let lines = (1..).zip(data.split(|byte| *byte == b'\n'));
    let filled: Vec<u64> = lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(number, _)| number).collect();
    assert_eq!(rows.iter().map(|(_, line)| *line).collect::<Vec<u64>>(), filled);
}

pub(crate) fn json_lines_seeds() -> Vec<Vec<u8>> {
    let whole = r#"{"id": 7, "other": {"deep": [1, "x"]}, "title": "Red mug", "text": "tea,\n\"always\"", "image": "img/mug.jpg", "tags": ["red", null], "stock": 3, "price": 12.5, "new": true, "category": "Home>Kitchen"}"#;
    let others = [
        r#"{"id": "a", "id": "b", "title": "twice \u0000 \ud83d\ude00"}"#,
        r#"{"id": "c", "title": 1984, "tags": [1, [2]], "price": 1e400}"#,
        "{\"id\": \"d\", \"title\": \"\u{202e}\u{7f}蓝\", \"price\": \"cheap\"} {}",
        "[1]\n\n \r\n{\"title\": \"no id\"}\n\"text\"",
    ];
    let lines = std::iter::once(whole).chain(others);
    let mut seeds: Vec<Vec<u8>> = lines.clone().map(|line| line.as_bytes().to_vec()).collect();
    seeds.push(lines.collect::<Vec<_>>().join("\n").into_bytes());
    seeds.push(format!("{}{}", "[".repeat(300), "]".repeat(300)).into_bytes());
    seeds
}

const CSV_HEADER: &str = "id,title,text,image,tags,stock,price,new,category\n";

/// A file without quotes has a row for each line that is not empty; one with quotes accounts for no fewer lines than it
/// has rows.
pub(crate) fn csv(data: &[u8]) {
    // The header stays whole, so that the rows are read; without it the file is refused or read as any other.
    let _ = rows("any.csv", CatalogFormat::Csv, data);
    let file = [CSV_HEADER.as_bytes(), data].concat();
    let rows = rows("catalog.csv", CatalogFormat::Csv, &file).unwrap();
    // A carriage return ends a record, too, but no line is counted for it.
    if data.contains(&b'\r') {
        return;
    }
    assert!(rows.windows(2).all(|pair| pair[0].1 < pair[1].1), "{rows:?}");
    let filled = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    if data.contains(&b'"') {
        assert!(rows.len() <= filled, "{} rows of {filled} lines", rows.len());
    } else {
        assert_eq!(rows.len(), filled);
    }
}

pub(crate) fn csv_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "7,Red mug,\"tea,\n\"\"always\"\"\",img/mug.jpg,red|tea,3,12.50,Yes,Home>Kitchen\n",
        "a,x,,,,,,,\nb,\"open,,,,,,,\nc,y,,,,,,,\nd,\"closed\",,,,,,,\n",
        "a,x\n\n,,,,,,,,\nb,y,,,,3.5,nan,maybe,>\n\u{0},\u{202e},,,,,,,\n",
        "\u{feff}id,title\na,b\n",
        "a,\",\"\n\",\"\n\",\"\n",
    ];
    seeds.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Rows are numbered without a gap; a broken file is an error.
pub(crate) fn parquet(data: &[u8]) {
    if let Some(rows) = rows("catalog.parquet", CatalogFormat::Parquet, data) {
        assert!((1..).zip(&rows).all(|(number, (_, line))| number == *line));
    }
}

pub(crate) fn parquet_seeds() -> Vec<Vec<u8>> {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("tea"), None]);
    tags.append_null();
    let columns: [(&str, ArrayRef); 9] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("title", Arc::new(StringArray::from(vec!["kettle", "mug"]))),
        ("text", Arc::new(StringArray::from(vec![Some("two\nlines"), None]))),
        ("image", Arc::new(BinaryArray::from(vec![Some(&b"bytes"[..]), None]))),
        ("tags", Arc::new(tags.finish())),
        ("stock", Arc::new(Int64Array::from(vec![Some(3), None]))),
        ("price", Arc::new(Float64Array::from(vec![Some(9.5), Some(f64::NAN)]))),
        ("new", Arc::new(arrow::array::BooleanArray::from(vec![Some(true), None]))),
        ("category", Arc::new(StringArray::from(vec![Some("Home > Kitchen"), None]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    vec![file]
}
