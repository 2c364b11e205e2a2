//! The results of a check: as text for a terminal, as JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    Ok,
    /// It works, but is probably not intended.
    Warning,
    /// Requests fail because of this.
    Failed,
    /// Not needed, or not possible after an earlier failure.
    Skipped,
}

/// The result of one step, and the likely remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub state: StepState,
    pub detail: String,
    /// The likely remedy; for warnings, and for failures that no other step explains.
    pub fix: Option<String>,
}

impl Finding {
    pub(crate) fn ok(detail: impl Into<String>) -> Self {
        Self { state: StepState::Ok, detail: detail.into(), fix: None }
    }

    pub(crate) fn warning(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { state: StepState::Warning, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub(crate) fn failed(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { state: StepState::Failed, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub(crate) fn skipped(detail: impl Into<String>) -> Self {
        Self { state: StepState::Skipped, detail: detail.into(), fix: None }
    }
}

/// One step of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckStep {
    /// What is tested, one lower-case word; the same in every release.
    pub name: &'static str,
    #[serde(flatten)]
    pub finding: Finding,
    /// Time spent waiting for a name server or a store.
    pub milliseconds: Option<u64>,
}

impl CheckStep {
    /// A step that waits for nothing.
    pub(crate) fn new(name: &'static str, finding: Finding) -> Self {
        Self { name, finding, milliseconds: None }
    }

    /// Appends its line, which begins with the result.
    pub(crate) fn write_finding(&self, out: &mut String) {
        let mark = match self.finding.state {
            StepState::Ok => "ok",
            StepState::Warning => "warning",
            StepState::Failed => "FAILED",
            StepState::Skipped => "skipped",
        };
        let took = self.milliseconds.map_or_else(String::new, |ms| format!(" ({ms} ms)"));
        let detail = &self.finding.detail;
        write_line(out, &format!("  {mark:<8} {:<13} {detail}{took}", self.name));
    }

    /// Appends the line of its fix, if there is one.
    pub(crate) fn write_fix(&self, out: &mut String) {
        if let Some(fix) = &self.finding.fix {
            write_line(out, &format!("{:25}fix: {fix}", ""));
        }
    }

    /// A step that waits for a name server or a store.
    pub(crate) fn timed(name: &'static str, finding: Finding, took: Duration) -> Self {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { name, finding, milliseconds: Some(milliseconds) }
    }
}

/// The subject of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Steps that concern every profile.
    Gateway,
    Profile,
    Object,
}

/// The steps of one subject, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckSection {
    pub subject: Subject,
    /// The profile or object; `None` for the gateway and for the profile of URLs without one.
    pub name: Option<String>,
    pub steps: Vec<CheckStep>,
}

impl CheckSection {
    fn title(&self) -> String {
        match (self.subject, &self.name) {
            (Subject::Gateway, _) => "gateway".to_owned(),
            (Subject::Profile, Some(name)) => format!("profile {name}"),
            (Subject::Profile, None) => "default profile (URLs without profile@)".to_owned(),
            (Subject::Object, name) => name.clone().unwrap_or_default(),
        }
    }
}

/// All results of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    pub sections: Vec<CheckSection>,
}

impl CheckReport {
    /// Whether no step failed. Warnings and skipped steps are no failures.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.count(StepState::Failed) == 0
    }

    /// Lines for a terminal: one for each step, and the result as the last line.
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
    /// and a step's `name` stay; `detail` and `fix` are texts and may change.
    #[must_use]
    pub fn to_json(&self) -> String {
        let document = serde_json::json!({
            "well": self.is_well(),
            "failed": self.count(StepState::Failed),
            "warnings": self.count(StepState::Warning),
            "sections": self.sections,
        });
        format!("{document:#}\n")
    }

    fn result(&self) -> String {
        let warnings = match self.count(StepState::Warning) {
            0 => String::new(),
            1 => ", with 1 warning".to_owned(),
            many => format!(", with {many} warnings"),
        };
        match self.count(StepState::Failed) {
            0 => format!("All checks passed{warnings}."),
            1 => format!("1 check failed{warnings}."),
            many => format!("{many} checks failed{warnings}."),
        }
    }

    fn count(&self, state: StepState) -> usize {
        let steps = self.sections.iter().flat_map(|section| &section.steps);
        steps.filter(|step| step.finding.state == state).count()
    }
}

/// Appends a line, with control characters from a key or a store escaped.
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

    fn report(findings: Vec<Finding>) -> CheckReport {
        let steps = findings.into_iter().map(|finding| CheckStep::new("dns", finding)).collect();
        let name = Some("hips".to_owned());
        CheckReport { sections: vec![CheckSection { subject: Subject::Profile, name, steps }] }
    }

    #[test]
    fn only_failed_steps_fail_a_check() {
        let ok = || Finding::ok("a");
        let warning = || Finding::warning("b", "f");
        let failed = || Finding::failed("c", "f");
        for (findings, well, result) in [
            (vec![], true, "All checks passed."),
            (vec![ok(), Finding::skipped("d")], true, "All checks passed."),
            (vec![warning()], true, "All checks passed, with 1 warning."),
            (vec![warning(), warning()], true, "All checks passed, with 2 warnings."),
            (vec![failed(), ok()], false, "1 check failed."),
            (vec![failed(), failed(), warning()], false, "2 checks failed, with 1 warning."),
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
             fix: check the spelling\n\n1 check failed.\n"
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
        report.sections.push(CheckSection { subject: Subject::Gateway, name: None, steps: vec![] });
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
