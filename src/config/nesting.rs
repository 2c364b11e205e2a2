//! How deeply a YAML text is nested, before it is parsed: a parser takes quadratic time for deep brackets.

/// More levels than any setting has.
pub(super) const MAX_DEPTH: usize = 64;

/// The line, from 1, at which a text has more than [`MAX_DEPTH`] brackets, or list items on one line, within
/// each other. Text in quotes and comments does not count. Linear in the length.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let mut brackets = 0_usize;
    let mut quote = None;
    for (number, line) in (1..).zip(text.lines()) {
        let items = line.split_ascii_whitespace().take_while(|it| matches!(*it, "-" | "?")).count();
        if quote.is_none() && items > MAX_DEPTH {
            return Some(number);
        }
        // Whether a value may begin here, and with it a quotation or a bracket.
        let (mut may_begin, mut after_space) = (true, true);
        let mut rest = line.bytes();
        while let Some(byte) = rest.next() {
            if let Some(mark) = quote {
                match byte {
                    b'\\' if mark == b'"' => drop(rest.next()),
                    _ if byte == mark => quote = None,
                    _ => {}
                }
                (may_begin, after_space) = (false, false);
                continue;
            }
            match byte {
                b'#' if after_space => break,
                b'"' | b'\'' if may_begin => quote = Some(byte),
                b'[' | b'{' if may_begin || brackets > 0 => brackets += 1,
                b']' | b'}' => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            if brackets > MAX_DEPTH {
                return Some(number);
            }
            after_space = matches!(byte, b' ' | b'\t');
            may_begin = match byte {
                b' ' | b'\t' => may_begin,
                // In a plain text outside of brackets they are text.
                b'[' | b'{' | b',' => brackets > 0,
                _ => matches!(byte, b':' | b'-' | b'?'),
            };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_texts_are_found_with_their_line() {
        let deep = "[".repeat(MAX_DEPTH + 1);
        for (text, line) in [
            (format!("a: {deep}"), 1),
            (format!("a: {}", "{b: ".repeat(20_000)), 1),
            (format!("a: 1\nb:\n  {}", "[ ".repeat(20_000)), 3),
            (format!("a: [\n{}", "[\n".repeat(20_000)), MAX_DEPTH + 1),
            (format!("a:\n  {}", "- ".repeat(20_000)), 2),
            (format!("? {}", "? ".repeat(20_000)), 1),
            (format!("a: 'it''s' # '\nb: {deep}"), 2),
            (format!("a: it's\nb: {deep}"), 2),
        ] {
            assert_eq!(too_deep(&text), Some(line), "{}", text.get(..20).unwrap_or(&text));
        }
    }

    #[test]
    fn other_texts_are_parsed() {
        let deep = "[".repeat(2 * MAX_DEPTH);
        for text in [
            String::new(),
            format!("a: {}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)),
            format!("a: '{deep}'\nb: \"\\\"{deep}\"\n# {deep}\nc: x{deep} # {deep}"),
            format!("a: 'two\n  lines {deep}'\n"),
            "a: [1, 2]\n".repeat(1000),
            "- a\n".repeat(1000),
            "a: b[\n".repeat(1000),
        ] {
            assert_eq!(too_deep(&text), None, "{text:.40}");
        }
    }
}
