//! Text for a terminal: colours where they are wanted, tables, and control characters that an object key or
//! a store may contain, escaped.

use std::fmt::Write as _;

pub mod progress;

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// For pipes and files.
    Plain,
    /// For a terminal (ECMA-48, SGR).
    Colour,
}

/// What a word means to a reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Normal,
    Good,
    Warning,
    Bad,
    /// Of little interest.
    Faint,
    Heading,
}

impl Paint {
    /// Colours for a terminal whose user does not refuse them: `NO_COLOR` is not empty
    /// (<https://no-color.org>), or `TERM` is `dumb`.
    #[must_use]
    pub fn of(is_terminal: bool, no_color: Option<&str>, term: Option<&str>) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty()) || term == Some("dumb");
        if is_terminal && !refused { Self::Colour } else { Self::Plain }
    }

    /// The text, which has no control characters, in the colour of this tone.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if self == Self::Plain => return text.to_owned(),
            Tone::Normal => return text.to_owned(),
            Tone::Good => 32,
            Tone::Warning => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
            Tone::Heading => 1,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// The text with its control characters escaped, so that it cannot move the cursor of a terminal.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            // Writing to a String cannot fail.
            let _always = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Rows of cells whose columns are aligned.
#[derive(Debug, Clone, Default)]
pub struct Table(Vec<Vec<(Tone, String)>>);

impl Table {
    /// A table with these names of its columns.
    #[must_use]
    pub fn new(columns: &[&str]) -> Self {
        let heading = columns.iter().map(|name| (Tone::Faint, (*name).to_owned()));
        Self(vec![heading.collect()])
    }

    /// Adds a row; control characters are escaped.
    pub fn row<const N: usize>(&mut self, cells: [(Tone, String); N]) {
        self.0.push(cells.into_iter().map(|(tone, text)| (tone, escaped(&text))).collect());
    }

    /// Lines of text; each begins with `indent`.
    #[must_use]
    pub fn text(&self, indent: &str, paint: Paint) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.0 {
            for (column, (_, text)) in row.iter().enumerate() {
                let width = text.chars().count();
                match widths.get_mut(column) {
                    Some(widest) => *widest = width.max(*widest),
                    None => widths.push(width),
                }
            }
        }
        let mut out = String::new();
        for row in &self.0 {
            let mut line = String::from(indent);
            for ((column, (tone, text)), width) in row.iter().enumerate().zip(&widths) {
                line.push_str(&paint.paint(*tone, text));
                if column + 1 < row.len() {
                    let space = 2 + width.saturating_sub(text.chars().count());
                    line.extend(std::iter::repeat_n(' ', space));
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_user_wants_them() {
        for (is_terminal, no_color, term, paint) in [
            (true, None, Some("xterm"), Paint::Colour),
            (true, Some(""), None, Paint::Colour),
            (true, Some("1"), None, Paint::Plain),
            (true, None, Some("dumb"), Paint::Plain),
            (false, None, Some("xterm"), Paint::Plain),
        ] {
            assert_eq!(Paint::of(is_terminal, no_color, term), paint, "{no_color:?} {term:?}");
        }
        assert_eq!(Paint::Plain.paint(Tone::Bad, "FAILED"), "FAILED");
        assert_eq!(Paint::Colour.paint(Tone::Bad, "FAILED"), "\u{1b}[31mFAILED\u{1b}[0m");
        assert_eq!(Paint::Colour.paint(Tone::Normal, "a"), "a");
    }

    #[test]
    fn columns_are_aligned_with_and_without_colours() {
        let mut table = Table::new(&["profile", "state"]);
        table.row([(Tone::Normal, "hips".to_owned()), (Tone::Good, "ok".to_owned())]);
        table.row([(Tone::Normal, "très-long".to_owned()), (Tone::Bad, "a\u{1b}[2J".to_owned())]);
        assert_eq!(
            table.text("  ", Paint::Plain),
            "  profile    state\n  hips       ok\n  très-long  a\\u{1b}[2J\n"
        );
        let coloured = table.text("", Paint::Colour);
        assert!(coloured.contains("hips       \u{1b}[32mok\u{1b}[0m\n"), "{coloured:?}");
    }
}
