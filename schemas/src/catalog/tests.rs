//! The same rows through every format, and what happens to rows and files that are wrong.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, Float32Array, Int32Array, LargeStringArray,
    ListArray, RecordBatch, StringArray, StringViewArray, UInt64Array,
};
use arrow::datatypes::{Int32Type, UInt64Type};

use super::*;
use crate::field::{FieldType, FieldValue};
use crate::item::{ImageSource, Location};
use crate::rejects::RejectReason;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn config(path: &Path) -> CatalogConfig {
    let field = |name: &str, r#type| CatalogField {
        column: name.to_owned(),
        spec: FieldSpec { name: name.to_owned(), r#type, searched: false },
    };
    CatalogConfig {
        path: path.to_owned(),
        format: None,
        id_column: "sku".to_owned(),
        title_column: "name".to_owned(),
        description_column: Some("text".to_owned()),
        image_column: Some("photo".to_owned()),
        fields: vec![
            field("brand", FieldType::String),
            field("tags", FieldType::Strings),
            field("stock", FieldType::Integer),
            field("price", FieldType::Float),
            field("new", FieldType::Boolean),
            field("category", FieldType::Category),
        ],
        list_separator: '|',
    }
}

fn rows(path: &Path) -> Result<Vec<Result<Item, Rejection>>, SchemaError> {
    Catalog::open(&config(path))?.rows().collect()
}

/// The rows of a file with this name and content.
fn rows_of(name: &str, content: &[u8]) -> Result<Vec<Result<Item, Rejection>>, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(name);
    fs_err::write(&path, content)?;
    Ok(rows(&path)?)
}

/// Line, id and reason of the rejections.
fn rejections(rows: &[Result<Item, Rejection>]) -> Vec<(u64, Option<&str>, String)> {
    let told = |row: &Rejection| (row.location.line, row.reason.to_string());
    rows.iter().filter_map(|row| row.as_ref().err()).map(|row| (told(row).0, row.id.as_deref(), told(row).1)).collect()
}

fn ids(rows: &[Result<Item, Rejection>]) -> Vec<&str> {
    rows.iter().flatten().map(|item| item.id.as_str()).collect()
}

/// The item that every format writes as its first row.
fn mug(path: &Path, line: u64) -> Item {
    let string = |text: &str| Some(FieldValue::String(text.to_owned()));
    Item {
        id: "7".to_owned(),
        title: Some("Red mug".to_owned()),
        description: Some("Holds tea,\n\"always\"".to_owned()),
        image: ImageSource::Path("img/mug.jpg".to_owned()),
        fields: vec![
            string("Daybird"),
            Some(FieldValue::Strings(vec!["red".to_owned(), "tea".to_owned()])),
            Some(FieldValue::Integer(3)),
            Some(FieldValue::Float(12.5)),
            Some(FieldValue::Boolean(true)),
            string("Home > Kitchen"),
        ],
        location: Location { file: path.to_owned(), line },
    }
}

const JSON_MUG: &str = r#"{"sku": 7, "other": {"deep": [1, "x"]}, "name": "Red mug", "text": "Holds tea,\n\"always\"", "photo": "img/mug.jpg", "brand": "Daybird", "tags": ["red", "tea"], "stock": 3, "price": 12.5, "new": true, "category": "Home>Kitchen"}"#;
const CSV_MUG: &str = "sku,name,text,photo,brand,tags,stock,price,new,category,other\n\
    7,Red mug,\"Holds tea,\n\"\"always\"\"\",img/mug.jpg,Daybird,red|tea,3,12.50,Yes,Home>Kitchen,x\n";

#[test]
fn json_lines_and_csv_give_the_same_item() -> Outcome {
    let folder = tempfile::tempdir()?;
    for (name, content) in [
        ("a.jsonl", JSON_MUG.to_owned()),
        ("bom.ndjson", format!("\u{feff}{JSON_MUG}\r\n")),
        ("a.csv", CSV_MUG.to_owned()),
        ("bom.csv", format!("\u{feff}{CSV_MUG}")),
        ("a.tsv", CSV_MUG.replace(',', "\t").replace("tea\t\n", "tea,\n")),
    ] {
        let path = folder.path().join(name);
        fs_err::write(&path, content)?;
        let line = if name.ends_with("sv") { 2 } else { 1 };
        assert_eq!(rows(&path)?, [Ok(mug(&path, line))], "{name}");
    }
    Ok(())
}

#[test]
fn bad_lines_are_rejected_and_the_rest_is_read() -> Outcome {
    let mut content = format!("{}\n", JSON_MUG.replace("7", "\"a\"")).into_bytes();
    content.extend(b"\n{\"sku\": \"b\", \"name\": \"\xff\"}\n");
    content.extend(b"{\"sku\": \"c\", \"name\": }\n[1]\n{\"name\": \"x\"}\n{\"sku\": \" \"}\n{\"sku\": true}\n");
    content.extend(b"{\"sku\": \"d\", \"name\": \" \", \"text\": null, \"photo\": \"\"}\n");
    content.extend(b"{\"sku\": \"e\", \"name\": \"x\", \"price\": \"cheap\"}\n{\"sku\": \"f\", \"name\": 1984}\n");
    content.extend(b"{\"sku\": \"g\", \"name\": \"x\"} {}\n{\"sku\": \"h\", \"name\": \"x\"}");
    let rows = rows_of("a.jsonl", &content)?;
    assert_eq!(ids(&rows), ["a", "h"]);
    let no_id = "it has no id".to_owned();
    let wrong = |column: &str, detail: &str| format!("column `{column}`: expected {detail}");
    assert_eq!(
        rejections(&rows),
        [
            (3, None, "it is malformed: invalid utf-8 sequence of 1 bytes from index 22".to_owned()),
            (4, None, "it is malformed: expected value at column 22".to_owned()),
            (5, None, "it is malformed: invalid type: sequence, expected a JSON object a line at column 0".to_owned()),
            (6, None, no_id.clone()),
            (7, None, no_id),
            (8, None, wrong("sku", "string or integer, got true")),
            (9, Some("d"), "it has neither title nor description nor picture".to_owned()),
            (10, Some("e"), wrong("price", "float, got the string \"cheap\"")),
            (11, Some("f"), wrong("name", "string, got the number 1984")),
            (12, None, "it is malformed: trailing characters at column 27".to_owned()),
        ]
    );
    Ok(())
}

#[test]
fn bad_csv_records_are_rejected_with_their_line() -> Outcome {
    let header = "sku,name,text,photo,brand,tags,stock,price,new,category\n";
    let mut content = format!("{header}\na,\"two\nlines\",,,,,,,,\nb,x\n").into_bytes();
    content.extend(b"c,\xff,,,,,,,,\n,x,,,,,,,,\nd,,,,,,,,,\ne,x,,,,,,,maybe,\nf,x,,,,,3.5,,,\ng,x,,,,,,,0,\n");
    content.extend(b"h,\"x,,,,,,,,\ni,x,,,,,,,,\n");
    let rows = rows_of("a.csv", &content)?;
    assert_eq!(ids(&rows), ["a", "g", "i"]);
    assert_eq!(rows[0].as_ref().map(|item| item.location.line), Ok(3));
    assert_eq!(
        rejections(&rows),
        [
            (5, None, "it is malformed: 2 cells, the header has 10".to_owned()),
            (6, None, "it is malformed: cell 2: invalid utf-8 sequence of 1 bytes from index 0".to_owned()),
            (7, None, "it has no id".to_owned()),
            (8, Some("d"), "it has neither title nor description nor picture".to_owned()),
            (9, Some("e"), "column `new`: expected boolean, got the string \"maybe\"".to_owned()),
            (10, Some("f"), "column `stock`: expected integer, got the string \"3.5\"".to_owned()),
            (12, None, "it is malformed: a quote is not closed; the lines after it are read one by one".to_owned()),
        ]
    );
    Ok(())
}

fn write_parquet(path: &Path, batch: &RecordBatch) -> Outcome {
    let mut writer = ArrowWriter::try_new(fs_err::File::create(path)?.into_parts().0, batch.schema(), None)?;
    writer.write(batch)?;
    writer.close()?;
    Ok(())
}

/// The mug with Parquet types that are not our own, and a row of nulls.
fn parquet_columns() -> Result<Vec<(&'static str, ArrayRef)>, Box<dyn std::error::Error>> {
    let brands: DictionaryArray<Int32Type> = [Some("Daybird"), None].into_iter().collect();
    let mut tags = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    tags.append_value([Some("red"), None, Some("tea")]);
    tags.append_null();
    let tags: ListArray = tags.finish();
    Ok(vec![
        ("category", Arc::new(LargeStringArray::from(vec![Some("Home>Kitchen"), None]))),
        ("other", Arc::new(Int32Array::from(vec![1, 2]))),
        ("brand", Arc::new(brands)),
        ("name", Arc::new(StringViewArray::from(vec![Some("Red mug"), Some("x")]))),
        ("text", Arc::new(StringArray::from(vec![Some("Holds tea,\n\"always\""), None]))),
        ("photo", Arc::new(StringArray::from(vec![Some("img/mug.jpg"), None]))),
        ("tags", Arc::new(tags)),
        ("stock", Arc::new(Float32Array::from(vec![Some(3.0), None]))),
        ("price", Arc::new(Decimal128Array::from(vec![Some(1250), None]).with_precision_and_scale(10, 2)?)),
        ("new", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("sku", Arc::new(UInt64Array::from(vec![7, u64::MAX]))),
    ])
}

#[test]
fn parquet_of_many_types_gives_the_same_item() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &RecordBatch::try_from_iter(parquet_columns()?)?)?;
    let rows = rows(&path)?;
    assert_eq!(rows[0], Ok(mug(&path, 1)));
    let second = rows[1].as_ref().map_err(ToString::to_string)?;
    assert_eq!((second.id.as_str(), second.location.line), ("18446744073709551615", 2));
    assert_eq!((&second.image, second.fields.iter().flatten().count()), (&ImageSource::Absent, 0));
    Ok(())
}

#[test]
fn parquet_pictures_are_bytes_and_row_numbers_cross_batches() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.parquet");
    let count = DEFAULT_PARQUET_ROWS_WITH_PICTURES as u64 * 2 + 1;
    let ids = arrow::array::PrimitiveArray::<UInt64Type>::from_iter_values(1..=count);
    let pictures: BinaryArray = (1..=count).map(|number| Some(vec![number as u8; 3])).collect();
    let ids: ArrayRef = Arc::new(ids);
    write_parquet(
        &path,
        &RecordBatch::try_from_iter([
            ("photo", Arc::new(pictures) as ArrayRef),
            ("sku", Arc::clone(&ids)),
            (
                "name",
                Arc::new(BinaryArray::from_iter_values(
                    (1..=count).map(|number| if number == 2 { vec![0xff] } else { b"x".to_vec() }),
                )),
            ),
        ])?,
    )?;
    let config = CatalogConfig { description_column: None, fields: Vec::new(), ..config(&path) };
    let rows = Catalog::open(&config)?.rows().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(rows.len() as u64, count);
    let reason =
        "column `name`: expected string, got bytes that are not UTF-8: invalid utf-8 sequence of 1 bytes from index 0";
    assert_eq!(rejections(&rows), [(2, Some("2"), reason.to_owned())]);
    for item in rows.iter().flatten() {
        assert_eq!(item.id, item.location.line.to_string());
        assert_eq!(item.image, ImageSource::Bytes(vec![item.location.line as u8; 3]));
    }
    Ok(())
}

#[test]
fn a_column_that_cannot_be_read_ends_the_reading_and_is_named() -> Outcome {
    let refusal = |name: &str, content: &[u8]| rows_of(name, content).map(|_| ()).map_err(|error| error.to_string());
    let text = "has no column `text`; it has `sku`, `name`";
    assert!(refusal("a.csv", b"sku,name\na,b\n").is_err_and(|got| got.ends_with(text)));
    let twice = CSV_MUG.replace(",other", ",sku");
    assert!(refusal("a.csv", twice.as_bytes()).is_err_and(|got| got.ends_with("has the column `sku` twice")));

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.parquet");
    let mut columns = parquet_columns()?;
    let (_, stock) = columns.remove(7);
    write_parquet(&path, &RecordBatch::try_from_iter(columns.clone())?)?;
    assert!(rows(&path).is_err_and(|error| error.to_string().contains("has no column `stock`; it has `category`")));
    let _name = std::mem::replace(&mut columns[3].1, Arc::clone(&stock));
    columns.push(("stock", stock));
    write_parquet(&path, &RecordBatch::try_from_iter(columns)?)?;
    let text = "the column `name` has the Parquet type Float32, which is no string";
    assert!(rows(&path).is_err_and(|error| error.to_string().ends_with(text)));
    Ok(())
}

#[test]
fn a_broken_file_ends_the_reading_after_the_rows_before_it() -> Outcome {
    let folder = tempfile::tempdir()?;
    fs_err::write(folder.path().join("1.jsonl"), JSON_MUG)?;
    fs_err::write(folder.path().join("2.parquet"), "no parquet")?;
    fs_err::write(folder.path().join("3.jsonl"), JSON_MUG)?;
    let catalog = Catalog::open(&config(folder.path()))?;
    assert_eq!(catalog.files().len(), 3);
    let rows: Vec<RowResult> = catalog.rows().collect();
    assert!(matches!(rows.as_slice(), [Ok(Ok(_)), Err(SchemaError::Parquet { .. })]), "{rows:?}");
    Ok(())
}

#[test]
fn empty_files_have_no_rows() -> Outcome {
    let header = CSV_MUG.split_inclusive('\n').next().unwrap_or_default();
    for (name, content) in [("a.jsonl", ""), ("a.jsonl", "\n \n"), ("a.csv", ""), ("a.csv", header), ("a.csv", "\r\n")]
    {
        assert_eq!(rows_of(name, content.as_bytes())?, [], "{name}");
    }
    Ok(())
}

#[test]
fn a_line_over_the_limit_is_rejected_and_reading_goes_on() -> Outcome {
    let long = format!("{{\"sku\": \"{}\"}}\n{JSON_MUG}\n", "x".repeat(MAX_LINE_BYTES));
    let rows = rows_of("a.jsonl", long.as_bytes())?;
    assert_eq!(ids(&rows), ["7"]);
    let told = rejections(&rows);
    assert!(
        matches!(told.as_slice(), [(1, None, reason)] if reason.contains("longer than 67108864 bytes")),
        "{told:?}"
    );
    Ok(())
}

#[test]
fn texts_over_the_limit_cost_their_row() -> Outcome {
    let half = "x".repeat(MAX_ROW_TEXT_BYTES / 2);
    let row =
        |id: &str, more: &str| format!("{{\"sku\": \"{id}\", \"name\": \"{half}\", \"text\": \"{half}{more}\"}}\n");
    let rows = rows_of("a.jsonl", (row("", "") + &row("a", "") + JSON_MUG).as_bytes())?;
    assert_eq!(ids(&rows), ["7"]);
    let told = rejections(&rows);
    let over =
        format!("it is malformed: its texts have {} bytes, the limit is {MAX_ROW_TEXT_BYTES}", MAX_ROW_TEXT_BYTES + 1);
    assert_eq!(told, [(1, None, "it has no id".to_owned()), (2, Some("a"), over)]);
    Ok(())
}

#[test]
fn messages_quote_the_start_of_what_is_long() -> Outcome {
    let long = "x".repeat(100_000);
    let rows = rows_of(
        "a.jsonl",
        format!("\"{long}\"\n{{\"sku\": \"{long}\"}}\n{{\"sku\": 1, \"price\": \"{long}\"}}").as_bytes(),
    )?;
    let told = rejections(&rows);
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|(_, _, reason)| reason.len() < 300), "{told:?}");
    Ok(())
}

#[test]
fn colliding_fields_are_an_error() {
    let mut config = config(Path::new("."));
    config.fields[1].spec.name = "brand".to_owned();
    let message = Catalog::open(&config).map(|_| ()).map_err(|error| error.to_string());
    let text = "catalog `.`: the field name `brand` is taken; give the field another one";
    assert_eq!(message, Err(text.to_owned()));
}

#[test]
fn one_column_can_have_two_uses() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.jsonl");
    fs_err::write(&path, JSON_MUG)?;
    let mut config = config(&path);
    config.fields[0].column = "photo".to_owned();
    let rows = Catalog::open(&config)?.rows().collect::<Result<Vec<_>, _>>()?;
    let item = rows[0].as_ref().map_err(ToString::to_string)?;
    assert_eq!(item.image, ImageSource::Path("img/mug.jpg".to_owned()));
    assert_eq!(item.fields[0], Some(FieldValue::String("img/mug.jpg".to_owned())));
    Ok(())
}

#[test]
fn a_wrong_type_is_told_apart_for_counting() -> Outcome {
    let rows = rows_of("a.jsonl", b"{\"sku\": \"a\", \"name\": \"x\", \"stock\": 1.5}")?;
    let kinds: Vec<&RejectReason> = rows.iter().filter_map(|row| row.as_ref().err()).map(|row| &row.reason).collect();
    let expected = RejectReason::WrongType {
        column: "stock".to_owned(),
        expected: "integer".to_owned(),
        got: "the number 1.5".to_owned(),
    };
    assert_eq!(kinds, [&expected]);
    Ok(())
}
