//! Tables for spreadsheets and scripts.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::write_atomic;

/// A table as [`write_csv`] writes it, of fields that need no quotes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Csv {
    /// The columns' names.
    pub header: Vec<String>,
    /// The rows, each with as many fields as there are columns.
    pub rows: Vec<Vec<String>>,
}

impl Csv {
    /// Reads `path`. Lines of another number of fields than the header are passed over.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_string).collect::<Vec<_>>());
        let header = lines.next().unwrap_or_default();
        let rows = lines.filter(|row| row.len() == header.len()).collect();
        Ok(Self { header, rows })
    }

    /// Where the column called `name` stands.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|h| h == name)
    }

    /// The fields of the column called `name`; none where there is no such column.
    pub fn column<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let at = self.place(name);
        self.rows.iter().filter_map(move |row| row.get(at?).map(String::as_str))
    }
}

/// Writes a header line and `rows` to `path` as RFC 4180 has it: commas between fields, CRLF after lines, quotes around
/// fields that need them.
///
/// # Errors
/// [`Error::Invalid`] if a row has more or fewer fields than the header, [`Error::Io`] if the file cannot be written.
pub fn write_csv(path: &Path, header: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let mut text = line(header.iter().copied());
    for (i, row) in rows.iter().enumerate() {
        if row.len() != header.len() {
            let why = format!("row {} has {} fields, the header {}", i + 1, row.len(), header.len());
            return Err(Error::invalid(path.display().to_string(), why));
        }
        text += &line(row.iter().map(String::as_str));
    }
    write_atomic(path, text.as_bytes())
}

fn line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    fields.map(quoted).collect::<Vec<_>>().join(",") + "\r\n"
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let row = ["1.5", "a,b", "say \"so\"", "two\nlines"].map(String::from).to_vec();
        write_csv(&path, &["x", "y", "z", "long name"], &[row, vec![String::new(); 4]]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "x,y,z,long name\r\n1.5,\"a,b\",\"say \"\"so\"\"\",\"two\nlines\"\r\n,,,\r\n");
    }

    #[test]
    fn what_was_written_is_read_by_column() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        write_csv(&path, &["x", "y"], &[vec!["1".into(), "a".into()], vec!["2".into(), "b".into()]]).unwrap();
        let csv = Csv::read(&path).unwrap();
        assert_eq!((csv.place("y"), csv.column("y").collect::<Vec<_>>()), (Some(1), vec!["a", "b"]));
        assert_eq!(csv.column("z").count(), 0);
        assert!(Csv::read(&dir.path().join("gone.csv")).is_err());
    }

    #[test]
    fn a_ragged_row_is_refused_and_nothing_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let said = write_csv(&path, &["x", "y"], &[vec!["1".into()]]).unwrap_err().to_string();
        assert!(said.contains("row 1 has 1 fields") && !path.exists(), "{said}");
    }
}
