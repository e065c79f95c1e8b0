//! Prometheus' text format, version 0.0.4, for gauges. Owns escaping and numbers; not the names. Invariant: a metric's
//! lines stand together, HELP and TYPE first, and a metric without samples is not written.

use std::fmt::Write;

/// A text that grows metric by metric.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// A gauge without labels.
    pub(super) fn number(&mut self, name: &str, help: &str, value: f64) {
        self.gauge(name, help, [(&[][..], value)]);
    }

    /// A gauge with one label.
    pub(super) fn by<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        let samples: Vec<([(&str, &str); 1], f64)> =
            samples.into_iter().map(|(value, number)| ([(label, value)], number)).collect();
        self.gauge(name, help, samples.iter().map(|(labels, number)| (&labels[..], *number)));
    }

    /// A gauge with any labels.
    pub(super) fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'a [(&'a str, &'a str)], f64)>,
    ) {
        let mut begun = false;
        for (labels, value) in samples {
            if !begun {
                self.line(format_args!("# HELP {name} {}", escaped(help, false)));
                self.line(format_args!("# TYPE {name} gauge"));
                begun = true;
            }
            let labels: Vec<String> =
                labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text, true))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            self.line(format_args!("{name}{labels} {}", number(value)));
        }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Backslash and line feed, and in labels the quote.
fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_help_and_numbers_are_written_as_the_format_wants_them() {
        let mut text = Exposition::default();
        text.by("a", "What \\ it\nis \"now\".", "x", [("back\\slash \"quoted\"\nline", 1.5), ("y", f64::INFINITY)]);
        text.by("empty", "Nothing.", "x", []);
        text.number("b", "Large.", 1.795e9);
        text.number("c", "None.", f64::NAN);
        let expected = "# HELP a What \\\\ it\\nis \"now\".\n# TYPE a gauge\n\
            a{x=\"back\\\\slash \\\"quoted\\\"\\nline\"} 1.5\na{x=\"y\"} +Inf\n\
            # HELP b Large.\n# TYPE b gauge\nb 1795000000\n# HELP c None.\n# TYPE c gauge\nc NaN\n";
        assert_eq!(text.finish(), expected);
    }
}
