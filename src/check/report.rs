//! What a check found: as text for a person at a terminal, as JSON for a machine.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// It works, but hardly as meant.
    Warning,
    /// Requests fail because of this.
    Failed,
    /// There was nothing to do, or something before has failed.
    Skipped,
}

/// What one step found, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub state: State,
    pub detail: String,
    /// The likely remedy, for warnings and failures that no other step explains.
    pub fix: Option<String>,
}

impl Finding {
    pub(crate) fn ok(detail: impl Into<String>) -> Self {
        Self { state: State::Ok, detail: detail.into(), fix: None }
    }

    pub(crate) fn warning(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { state: State::Warning, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub(crate) fn failed(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { state: State::Failed, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub(crate) fn skipped(detail: impl Into<String>) -> Self {
        Self { state: State::Skipped, detail: detail.into(), fix: None }
    }
}

/// One step of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was looked at, one lower-case word; the same in every release.
    pub name: &'static str,
    #[serde(flatten)]
    pub finding: Finding,
    /// How long it took, where it waited for something.
    pub milliseconds: Option<u64>,
}

impl Step {
    /// A step that took no time.
    pub(crate) fn new(name: &'static str, finding: Finding) -> Self {
        Self { name, finding, milliseconds: None }
    }

    /// Appends its line, a mark in front of it.
    pub(crate) fn write_finding(&self, out: &mut String) {
        let mark = match self.finding.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "FAILED",
            State::Skipped => "skipped",
        };
        let took = self.milliseconds.map_or_else(String::new, |ms| format!(" ({ms} ms)"));
        let detail = &self.finding.detail;
        write_line(out, &format!("  {mark:<8} {:<13} {detail}{took}", self.name));
    }

    /// Appends the line of its fix, if it has one.
    pub(crate) fn write_fix(&self, out: &mut String) {
        if let Some(fix) = &self.finding.fix {
            write_line(out, &format!("{:25}fix: {fix}", ""));
        }
    }

    /// A step that waited for a name server or a store.
    pub(crate) fn timed(name: &'static str, finding: Finding, took: Duration) -> Self {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { name, finding, milliseconds: Some(milliseconds) }
    }
}

/// What a section is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// What concerns every profile.
    Gateway,
    Profile,
    Object,
}

/// The steps that belong to one thing, in the order they were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    pub subject: Subject,
    /// The profile or object; `None` for the gateway and for the profile of URLs without one.
    pub name: Option<String>,
    pub steps: Vec<Step>,
}

impl Section {
    fn title(&self) -> String {
        match (self.subject, &self.name) {
            (Subject::Gateway, _) => "gateway".to_owned(),
            (Subject::Profile, Some(name)) => format!("profile {name}"),
            (Subject::Profile, None) => "default profile (URLs without profile@)".to_owned(),
            (Subject::Object, name) => name.clone().unwrap_or_default(),
        }
    }
}

/// Everything a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub sections: Vec<Section>,
}

impl Report {
    /// Whether no step failed. Warnings and skipped steps are well.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.count(State::Failed) == 0
    }

    /// Lines for a terminal, a mark in front of each step, the last line the result.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for section in &self.sections {
            write_line(&mut out, &section.title());
            for step in &section.steps {
                step.write_finding(&mut out);
                step.write_fix(&mut out);
            }
            out.push('\n');
        }
        write_line(&mut out, &self.result());
        out
    }

    /// `{"well", "failed", "warnings", "sections": [{"subject", "name", "steps": [{"name",
    /// "state", "detail", "fix", "milliseconds"}]}]}`. Keys and the values of `subject`, `state`
    /// and a step's `name` stay; `detail` and `fix` are for people and may change.
    #[must_use]
    pub fn to_json(&self) -> String {
        let document = serde_json::json!({
            "well": self.is_well(),
            "failed": self.count(State::Failed),
            "warnings": self.count(State::Warning),
            "sections": self.sections,
        });
        format!("{document:#}\n")
    }

    fn result(&self) -> String {
        let warnings = match self.count(State::Warning) {
            0 => String::new(),
            1 => ", with 1 warning".to_owned(),
            many => format!(", with {many} warnings"),
        };
        match self.count(State::Failed) {
            0 => format!("All is well{warnings}."),
            1 => format!("Not well: 1 step failed{warnings}."),
            many => format!("Not well: {many} steps failed{warnings}."),
        }
    }

    fn count(&self, state: State) -> usize {
        let steps = self.sections.iter().flat_map(|section| &section.steps);
        steps.filter(|step| step.finding.state == state).count()
    }
}

/// Appends a line. What a key or a store put into it cannot steer the terminal.
pub(crate) fn write_line(out: &mut String, line: &str) {
    for character in line.trim_end().chars() {
        if character.is_control() {
            // Writing to a String cannot fail.
            let _always = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        let steps = findings.into_iter().map(|finding| Step::new("dns", finding)).collect();
        let name = Some("hips".to_owned());
        Report { sections: vec![Section { subject: Subject::Profile, name, steps }] }
    }

    #[test]
    fn only_failures_make_a_report_unwell() {
        let ok = || Finding::ok("a");
        let warning = || Finding::warning("b", "f");
        let failed = || Finding::failed("c", "f");
        for (findings, well, result) in [
            (vec![], true, "All is well."),
            (vec![ok(), Finding::skipped("d")], true, "All is well."),
            (vec![warning()], true, "All is well, with 1 warning."),
            (vec![warning(), warning()], true, "All is well, with 2 warnings."),
            (vec![failed(), ok()], false, "Not well: 1 step failed."),
            (
                vec![failed(), failed(), warning()],
                false,
                "Not well: 2 steps failed, with 1 warning.",
            ),
        ] {
            let report = report(findings);
            assert_eq!(report.is_well(), well, "{result}");
            assert_eq!(report.to_text().lines().last(), Some(result));
        }
    }

    #[test]
    fn the_text_names_each_step_and_its_fix() {
        let mut report = report(vec![Finding::failed("no such name", "check the spelling")]);
        report.sections[0].steps[0].milliseconds = Some(7);
        assert_eq!(
            report.to_text(),
            "profile hips\n  \
             FAILED   dns           no such name (7 ms)\n                         \
             fix: check the spelling\n\nNot well: 1 step failed.\n"
        );
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let text = report(vec![Finding::ok("a\u{1b}[2J\r\nb\u{9b}é")]).to_text();
        assert!(text.contains("a\\u{1b}[2J\\r\\nb\\u{9b}é"), "{text}");
    }

    #[test]
    fn the_json_keeps_its_shape() {
        let mut report = report(vec![Finding::failed("no", "do")]);
        report.sections[0].steps[0].milliseconds = Some(7);
        report.sections.push(Section { subject: Subject::Gateway, name: None, steps: vec![] });
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        let expected = serde_json::json!({
            "well": false, "failed": 1, "warnings": 0,
            "sections": [
                { "subject": "profile", "name": "hips", "steps": [
                    { "name": "dns", "state": "failed", "detail": "no", "fix": "do",
                      "milliseconds": 7 },
                ] },
                { "subject": "gateway", "name": null, "steps": [] },
            ],
        });
        assert_eq!(json, expected);
    }
}
