//! Hits and figures as tables. Owns columns and widths. Invariant: on a terminal a row is one line, and every text was
//! made harmless by [`shown`].

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width};
use schemas::FieldValue;
use searcher::Hit;

use crate::output::shown;

/// Longest text in a column of a declared field, in characters.
const FIELD_WIDTH: usize = 24;
/// Width that a title may have before fields beside it have to give way.
const TITLE_WIDTH: usize = 40;

/// Right-aligned cell.
fn number(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// A plain table with a header; `width` where it must fit a terminal.
fn plain(header: impl Into<Row>, width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header).set_truncation_indicator("…");
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table
}

/// A column after the title.
struct Column {
    name: String,
    /// The text for each hit, and whether it is a number.
    cells: Vec<(String, bool)>,
}

/// The hits of a page: rank, score, id, title, and as many more columns as fit.
pub(crate) fn hits(hits: &[Hit], width: Option<u16>) -> String {
    let columns = columns(hits, width);
    let names = columns.iter().map(|column| Cell::new(&column.name));
    let header = ["rank", "score", "id", "title"].into_iter().map(Cell::new).chain(names);
    let mut table = plain(header.collect::<Vec<Cell>>(), width);
    for (place, hit) in hits.iter().enumerate() {
        let mut cells = vec![
            number(hit.rank),
            number(format!("{:.4}", hit.score)),
            Cell::new(shown(&hit.id)),
            Cell::new(hit.title.as_deref().map_or_else(|| "–".to_owned(), shown)),
        ];
        cells.extend(columns.iter().map(|column| {
            let (text, is_number) = &column.cells[place];
            if *is_number { number(text) } else { Cell::new(text) }
        }));
        let mut row = Row::from(cells);
        if width.is_some() {
            row.max_height(1);
        }
        table.add_row(row);
    }
    if width.is_some() {
        for column in [0, 1] {
            if let Some(column) = table.column_mut(column) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        if let Some(title) = table.column_mut(3) {
            title.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(8)));
        }
    }
    finished(&table)
}

/// A table of figures: the first column is text, the others are numbers.
pub(crate) fn figures(header: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut table = plain(header, None);
    for row in rows {
        let cells = row.into_iter().enumerate();
        table.add_row(
            cells.map(|(place, cell)| if place == 0 { Cell::new(cell) } else { number(cell) }).collect::<Vec<Cell>>(),
        );
    }
    finished(&table)
}

/// A p-value with four decimals; it is never 0.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.0001 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}

/// Names and values below each other.
pub(crate) fn pairs(rows: &[(String, String)]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for (name, value) in rows {
        table.add_row([shown(name), shown(value)]);
    }
    finished(&table)
}

/// The table's lines without the blanks that fill up columns at their ends.
fn finished(table: &Table) -> String {
    table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
}

/// What any hit says beside rank, score, id and title: the others it stands for, the hit with nearly its picture, and the
/// declared fields, in order; on a terminal those that leave the title some room.
fn columns(hits: &[Hit], width: Option<u16>) -> Vec<Column> {
    let column = |name: &str, cell: &dyn Fn(&Hit) -> (String, bool)| Column {
        name: shown(name),
        cells: hits.iter().map(cell).collect(),
    };
    let mut columns = Vec::new();
    if hits.iter().any(|hit| hit.others.is_some()) {
        let others = |hit: &Hit| (hit.others.map_or_else(String::new, |others| others.to_string()), true);
        columns.push(column("others", &others));
    }
    if hits.iter().any(|hit| hit.duplicate_of.is_some()) {
        let duplicate_of = |hit: &Hit| (hit.duplicate_of.as_deref().map_or_else(String::new, shown), false);
        columns.push(column("picture as", &duplicate_of));
    }
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in hits.iter().flat_map(|hit| &hit.fields) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    columns.extend(names.into_iter().map(|name| column(name, &|hit| field(hit, name))));
    let Some(width) = width else { return columns };
    let longest_id = hits.iter().map(|hit| console::measure_text_width(&shown(&hit.id))).max().unwrap_or(0);
    let titles = hits.iter().filter_map(|hit| hit.title.as_deref());
    let titles = titles.map(|title| console::measure_text_width(&shown(title)));
    let title = titles.max().unwrap_or(0).min(TITLE_WIDTH);
    // Rank, score, and the padding of these four columns.
    let mut room = usize::from(width).saturating_sub(longest_id + title + 20);
    columns.retain(|column| {
        let widest = column.cells.iter().map(|(text, _)| console::measure_text_width(text)).max().unwrap_or(0);
        let needed = widest.max(console::measure_text_width(&column.name)) + 2;
        let fits = needed <= room;
        room = room.saturating_sub(if fits { needed } else { 0 });
        fits
    });
    columns
}

/// The value of a declared field, and whether it is a number.
fn field(hit: &Hit, name: &str) -> (String, bool) {
    let value = hit.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value);
    let text = value.map_or_else(String::new, |value| shown(&value.to_string()));
    let text = match text.char_indices().nth(FIELD_WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    (text, matches!(value, Some(FieldValue::Integer(_) | FieldValue::Float(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(rank: usize, title: &str, brand: &str) -> Hit {
        Hit {
            rank,
            row: 0,
            id: format!("p{rank}"),
            score: 0.5,
            title: Some(title.to_owned()),
            description: None,
            image: None,
            fields: vec![("brand".to_owned(), FieldValue::String(brand.to_owned()))],
            others: None,
            duplicate_of: None,
            explain: None,
        }
    }

    #[test]
    fn wide_characters_keep_the_columns_straight() {
        let text = hits(&[hit(1, "蓝色条纹马克杯", "晨鸟"), hit(2, "red mug", "Daybird\u{1b}[2J")], None);
        let lines: Vec<&str> = text.lines().collect();
        let column = |line: &str, word: &str| console::measure_text_width(line.split(word).next().unwrap());
        assert_eq!(column(lines[1], "晨鸟"), column(lines[2], "Daybird"));
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_row_is_one_line_of_the_terminals_width() {
        let long = "a very long title of a very ordinary mug ".repeat(5);
        for width in [30, 40, 80, 120] {
            let text = hits(
                &[hit(1, &long, "Daybird"), hit(2, "蓝色条纹马克杯蓝色条纹马克杯蓝色条纹马克杯蓝色条纹马克杯", "晨鸟")],
                Some(width),
            );
            assert!(
                text.lines().all(|line| console::measure_text_width(line) <= usize::from(width)),
                "{width}\n{text}"
            );
            assert_eq!(text.lines().count(), 3, "{text}");
        }
    }
}
