//! Aligned tables and colours, for people. Scripts have `--json`.

use std::fmt::Write;

/// Colours, when somebody looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paint {
    pub on: bool,
}

impl Paint {
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn odd(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Columns that start with `>` are right-aligned: numbers.
pub struct Table {
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<S: AsRef<str>>(columns: impl IntoIterator<Item = S>) -> Self {
        let (mut right, mut heads) = (Vec::new(), Vec::new());
        for column in columns {
            let column = column.as_ref();
            right.push(column.starts_with('>'));
            heads.push(column.trim_start_matches('>').to_owned());
        }
        Self { right, rows: vec![heads] }
    }

    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|cell| harmless(&cell.into())).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub fn render(&self, paint: Paint) -> String {
        let width = |place: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(place));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.right.len()).map(width).collect();
        let mut out = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (place, cell) in row.iter().enumerate() {
                let (width, gap) = (widths[place], if place == 0 { "" } else { "  " });
                let _ = match self.right[place] {
                    true => write!(line, "{gap}{cell:>width$}"),
                    false => write!(line, "{gap}{cell:<width$}"),
                };
            }
            let line = line.trim_end();
            out.push_str(&if number == 0 { paint.dim(line) } else { line.to_owned() });
            out.push('\n');
        }
        out
    }
}

/// Names and reasons come from files and nodes; none of them may move the cursor or colour the screen.
pub fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// `12 models`, `1 model`.
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {one}s", grouped(number as u128)) }
}

/// `1 234 567`, with thin groups of three.
pub fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["name", ">tokens", "note"]);
        table.row(["a", "5", ""]);
        table.row(["longer", "12 345", "é\x1b[31m"]);
        let text = table.render(Paint::default());
        assert_eq!(text, "name    tokens  note\na            5\nlonger  12 345  é\u{fffd}[31m\n");
    }

    #[test]
    fn colours_only_when_somebody_looks() {
        assert_eq!(Paint { on: false }.bad("x"), "x");
        assert_eq!(Paint { on: true }.bad("x"), "\x1b[31mx\x1b[0m");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!((count(1, "model"), count(0, "model")), ("1 model".into(), "0 models".into()));
    }
}
