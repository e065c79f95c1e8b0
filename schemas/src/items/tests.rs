//! What is written is read back equal, without copies, and damage is an error.

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use proptest::prelude::*;

use super::*;
use crate::SchemaError;
use crate::arrow_file::damage;
use crate::map::MappedFile;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn spec(name: &str, r#type: FieldType) -> FieldSpec {
    FieldSpec { name: name.to_owned(), r#type, searched: false }
}

fn specs() -> Vec<FieldSpec> {
    vec![
        spec("brand", FieldType::String),
        spec("tags", FieldType::Strings),
        spec("stock", FieldType::Integer),
        spec("price", FieldType::Float),
        spec("new", FieldType::Boolean),
        spec("category", FieldType::Category),
    ]
}

fn item(number: usize) -> StoredItem {
    let some = |text: &str| Some(format!("{text} {number}"));
    StoredItem {
        id: format!("id-{number}"),
        title: some("title"),
        description: if number.is_multiple_of(3) { None } else { some("description é 漢") },
        image: if number.is_multiple_of(2) { None } else { some("image") },
        fields: vec![
            some("brand").map(FieldValue::String),
            Some(FieldValue::Strings((0..number % 4).map(|tag| format!("tag {tag}")).collect())),
            (!number.is_multiple_of(5)).then_some(FieldValue::Integer(-(number as i64))),
            Some(FieldValue::Float(number as f64 / 7.0)),
            (!number.is_multiple_of(7)).then_some(FieldValue::Boolean(number.is_multiple_of(2))),
            None,
        ],
    }
}

fn write(
    items: &[StoredItem],
    fields: &[FieldSpec],
) -> Result<(tempfile::TempDir, Vec<u8>), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(ITEMS_FILE);
    let mut writer = ItemsWriter::create(&path, fields)?;
    for item in items {
        writer.write(item)?;
    }
    assert_eq!(writer.finish()?, items.len() as u64);
    let bytes = fs_err::read(&path)?;
    Ok((folder, bytes))
}

fn read(folder: &tempfile::TempDir, fields: &[FieldSpec]) -> Result<ItemsReader, SchemaError> {
    ItemsReader::open(MappedFile::open(&folder.path().join(ITEMS_FILE))?, fields)
}

#[test]
fn items_of_several_batches_are_read_back() -> Outcome {
    let items: Vec<StoredItem> = (0..DEFAULT_BATCH_ROWS * 2 + 3).map(item).collect();
    let (folder, _) = write(&items, &specs())?;
    let reader = read(&folder, &specs())?;
    assert_eq!((reader.row_count(), reader.batch_count()), (items.len() as u64, 3));
    for (row, item) in items.iter().enumerate() {
        assert_eq!(&reader.item(row as u32)?, item);
        assert_eq!(reader.id(row as u32)?, item.id);
    }
    assert!(matches!(reader.item(items.len() as u32), Err(SchemaError::Invalid { .. })));
    assert!(matches!(reader.batch(3), Err(SchemaError::Invalid { .. })));

    let (first_row, batch) = reader.batch(2)?;
    assert_eq!((first_row as usize, batch.num_rows()), (DEFAULT_BATCH_ROWS * 2, 3));
    let (_, prices) = reader.column(2, FIRST_FIELD_COLUMN + 3)?;
    let expected = (DEFAULT_BATCH_ROWS * 2 + 1) as f64 / 7.0;
    assert!((prices.as_primitive::<Float64Type>().value(1) - expected).abs() < f64::EPSILON);
    assert!(matches!(reader.column(0, 99), Err(SchemaError::Invalid { .. })));
    Ok(())
}

#[test]
fn long_texts_end_a_batch_early() -> Outcome {
    let long = StoredItem { description: Some("x".repeat(DEFAULT_BATCH_BYTES / 2 + 1)), ..item(1) };
    let longer = StoredItem { description: Some("x".repeat(DEFAULT_BATCH_BYTES * 2)), ..item(2) };
    let (folder, _) = write(&[long.clone(), long, longer], &specs())?;
    assert_eq!(read(&folder, &specs())?.batch_count(), 3);
    Ok(())
}

#[test]
fn values_lie_in_the_map() -> Outcome {
    let items: Vec<StoredItem> = (0..1000).map(item).collect();
    let (folder, _) = write(&items, &specs())?;
    let file = MappedFile::open(&folder.path().join(ITEMS_FILE))?;
    let map = file.bytes().as_ptr_range();
    let reader = ItemsReader::open(file.clone(), &specs())?;
    let (_, batch) = reader.batch(0)?;
    for column in batch.columns() {
        let data = column.to_data();
        for buffer in data.buffers().iter().chain(data.child_data().iter().flat_map(|child| child.buffers())) {
            let values = buffer.as_slice().as_ptr_range();
            assert!(map.start <= values.start && values.end <= map.end, "{} was copied", column.data_type());
        }
    }
    Ok(())
}

#[test]
fn equal_items_give_equal_files() -> Outcome {
    let items: Vec<StoredItem> = (0..100).map(item).collect();
    assert_eq!(write(&items, &specs())?.1, write(&items, &specs())?.1);
    Ok(())
}

#[test]
fn a_file_without_rows_opens() -> Outcome {
    let (folder, _) = write(&[], &[])?;
    let reader = read(&folder, &[])?;
    assert_eq!((reader.row_count(), reader.batch_count()), (0, 0));
    assert!(reader.item(0).is_err());
    Ok(())
}

#[test]
fn other_columns_are_refused_by_name() -> Outcome {
    let (folder, _) = write(&[item(1)], &specs())?;
    let mut fewer = specs();
    fewer.pop();
    let mut other = specs();
    other[3].r#type = FieldType::Integer;
    let message = |fields: &[FieldSpec]| read(&folder, fields).map(|_| ()).map_err(|error| error.to_string());
    assert!(message(&fewer).is_err_and(|text| text.ends_with("it has 10 columns, expected 9")));
    let text = "it has the column `price: Float64` where `price: Int64` is expected";
    assert!(message(&other).is_err_and(|got| got.ends_with(text)));
    Ok(())
}

#[test]
fn a_value_of_another_type_is_not_written() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut writer = ItemsWriter::create(&folder.path().join(ITEMS_FILE), &specs())?;
    let mut wrong = item(1);
    wrong.fields[3] = Some(FieldValue::Integer(3));
    assert!(matches!(writer.write(&wrong), Err(SchemaError::Invalid { .. })));
    wrong.fields.pop();
    assert!(matches!(writer.write(&wrong), Err(SchemaError::Invalid { .. })));
    writer.write(&item(1))?;
    assert_eq!(writer.finish()?, 1);
    let twice = [spec("a", FieldType::String), spec("a", FieldType::Float)];
    assert!(ItemsWriter::create(&folder.path().join("x"), &twice).is_err());
    Ok(())
}

/// Opens damaged bytes and reads everything; only that it returns matters.
fn read_all(bytes: Vec<u8>) -> Result<(), SchemaError> {
    let reader = ItemsReader::open(MappedFile::from_bytes("damaged".as_ref(), bytes), &specs())?;
    for number in 0..reader.batch_count() {
        let (first_row, batch) = reader.batch(number)?;
        for place in 0..batch.num_rows() {
            reader.item(first_row + place as u32)?;
        }
    }
    Ok(())
}

#[test]
fn a_cut_off_file_is_an_error() -> Outcome {
    let (_folder, bytes) = write(&(0..40).map(item).collect::<Vec<_>>(), &specs())?;
    assert!(read_all(bytes.clone()).is_ok());
    for length in 0..bytes.len() {
        assert!(read_all(bytes[..length].to_vec()).is_err(), "cut to {length}");
    }
    Ok(())
}

#[test]
fn damaged_bytes_never_panic() -> Outcome {
    let (_folder, bytes) = write(&(0..40).map(item).collect::<Vec<_>>(), &specs())?;
    let refused = damage::flips(&bytes).filter(|bytes| read_all(bytes.clone()).is_err()).count();
    // Most of the file is structure here; flips in texts and numbers are other values.
    assert!(refused > bytes.len() / 8, "{refused} of {} flips were noticed", bytes.len() * damage::FLIPS_PER_BYTE);
    Ok(())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z é漢\0\n]{1,12}"]
}

fn any_item() -> impl Strategy<Value = StoredItem> {
    let optional = || prop::option::of(any_text());
    let fields = (
        optional().prop_map(|text| text.map(FieldValue::String)),
        prop::option::of(prop::collection::vec(any_text(), 0..4).prop_map(FieldValue::Strings)),
        prop::option::of(any::<i64>().prop_map(FieldValue::Integer)),
        prop::option::of((-1e300..1e300_f64).prop_map(FieldValue::Float)),
        prop::option::of(any::<bool>().prop_map(FieldValue::Boolean)),
        optional().prop_map(|text| text.map(FieldValue::String)),
    );
    let fields = fields.prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f]);
    let parts = (any_text(), optional(), optional(), optional(), fields);
    parts.prop_map(|(id, title, description, image, fields)| StoredItem { id, title, description, image, fields })
}

proptest! {
    #[test]
    fn any_items_are_read_back_equal(items in prop::collection::vec(any_item(), 0..20)) {
        let fail = |error: Box<dyn std::error::Error>| TestCaseError::fail(error.to_string());
        let (folder, _) = write(&items, &specs()).map_err(fail)?;
        let reader = read(&folder, &specs()).map_err(|error| fail(error.into()))?;
        prop_assert_eq!(reader.row_count(), items.len() as u64);
        for (row, item) in items.iter().enumerate() {
            let read = reader.item(row as u32).map_err(|error| fail(error.into()))?;
            prop_assert_eq!(&read, item);
        }
    }
}
