//! The results of a check: as text for a terminal, as JSON for programs.

use std::time::Duration;

use serde::Serialize;

use crate::profile::DEFAULT_LABEL;
use crate::terminal::{Paint, Table, Tone, escaped};

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    Ok,
    /// It works, but is probably not intended.
    Warning,
    /// Requests fail because of this, or a tier of the cache is of no use.
    Failed,
    /// Not needed, or not possible after an earlier failure.
    Skipped,
}

impl StepState {
    /// The word for it, and the meaning of its colour.
    fn mark(self) -> (&'static str, Tone) {
        match self {
            Self::Ok => ("ok", Tone::Good),
            Self::Warning => ("warning", Tone::Warning),
            Self::Failed => ("FAILED", Tone::Bad),
            Self::Skipped => ("skipped", Tone::Faint),
        }
    }
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
    pub(crate) fn write_finding(&self, out: &mut String, paint: Paint) {
        self.write_named(out, self.name, paint);
    }

    fn write_named(&self, out: &mut String, name: &str, paint: Paint) {
        let (mark, tone) = self.finding.state.mark();
        let took = self.milliseconds.map_or_else(String::new, |ms| format!(" ({ms} ms)"));
        let detail = &self.finding.detail;
        out.push_str("  ");
        out.push_str(&paint.paint(tone, &format!("{mark:<8}")));
        write_line(out, &format!(" {name:<13} {detail}{took}"));
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
    Survey,
    /// The tier of the cache that replicas share.
    Shared,
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
            (Subject::Shared, _) => "shared cache".to_owned(),
            (Subject::Profile, Some(name)) => format!("profile {name}"),
            (Subject::Profile, None) => "default profile (URLs without profile@)".to_owned(),
            (Subject::Object | Subject::Survey, name) => name.clone().unwrap_or_default(),
        }
    }

    /// Its steps; those that were skipped one after another for the same reason share a line.
    fn write_steps(&self, out: &mut String, paint: Paint) {
        let same = |a: &CheckStep, b: &CheckStep| {
            a.finding.state == StepState::Skipped && a.finding == b.finding
        };
        for steps in self.steps.chunk_by(same) {
            let Some(first) = steps.first() else { continue };
            let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
            first.write_named(out, &names.join(", "), paint);
            first.write_fix(out);
        }
    }

    /// The step that decides its result: the first that failed, else the first warning.
    fn worst(&self) -> Option<&CheckStep> {
        let first = |state| self.steps.iter().find(|step| step.finding.state == state);
        first(StepState::Failed).or_else(|| first(StepState::Warning))
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

    /// Lines for a terminal: one for each step, a table of the profiles if there are several, and the
    /// result as the last line.
    #[must_use]
    pub fn to_text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for section in &self.sections {
            out.push_str(&paint.paint(Tone::Heading, &escaped(&section.title())));
            out.push('\n');
            section.write_steps(&mut out, paint);
            out.push('\n');
        }
        if let Some(table) = self.summary() {
            out.push_str(&table.text("", paint));
            out.push('\n');
        }
        let tone = if self.is_well() { Tone::Good } else { Tone::Bad };
        out.push_str(&paint.paint(tone, &self.result()));
        out.push('\n');
        out
    }

    /// A line for each profile, if there are several.
    fn summary(&self) -> Option<Table> {
        let profiles = self.sections.iter().filter(|it| it.subject == Subject::Profile);
        let profiles: Vec<&CheckSection> = profiles.collect();
        if profiles.len() < 2 {
            return None;
        }
        let mut table = Table::new(&["profile", "result", "why"]);
        for section in profiles {
            let name = section.name.clone().unwrap_or_else(|| DEFAULT_LABEL.to_owned());
            let worst = section.worst();
            let state = worst.map_or(StepState::Ok, |step| step.finding.state);
            let (mark, tone) = state.mark();
            let why = worst
                .map_or_else(String::new, |step| format!("{}: {}", step.name, step.finding.detail));
            table.row([(Tone::Normal, name), (tone, mark.to_owned()), (Tone::Normal, why)]);
        }
        Some(table)
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
    out.push_str(&escaped(line.trim_end()));
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
            assert_eq!(report.to_text(Paint::Plain).lines().last(), Some(result));
        }
    }

    #[test]
    fn the_text_names_each_step_and_its_fix() {
        let mut report = report(vec![Finding::failed("no such name", "check the spelling")]);
        report.sections[0].steps[0].milliseconds = Some(7);
        assert_eq!(
            report.to_text(Paint::Plain),
            "profile hips\n  \
             FAILED   dns           no such name (7 ms)\n                         \
             fix: check the spelling\n\n1 check failed.\n"
        );
    }

    /// A profile whose name does not resolve repeated four lines of skipped steps.
    #[test]
    fn steps_that_are_skipped_for_one_reason_share_a_line_and_profiles_end_in_a_table() {
        let of = |name: Option<&str>, findings: Vec<(&'static str, Finding)>| CheckSection {
            subject: Subject::Profile,
            name: name.map(str::to_owned),
            steps: findings.into_iter().map(|(name, it)| CheckStep::new(name, it)).collect(),
        };
        let not_reached = || Finding::skipped("not reached");
        let mut report = CheckReport {
            sections: vec![
                of(None, vec![("dns", Finding::ok("1 address"))]),
                of(
                    Some("hips"),
                    vec![
                        ("dns", Finding::failed("no such name", "check the spelling")),
                        ("tcp", not_reached()),
                        ("tls", not_reached()),
                        ("request", not_reached()),
                        ("clock", Finding::skipped("no answer")),
                    ],
                ),
            ],
        };
        let text = report.to_text(Paint::Plain);
        assert!(text.contains("  skipped  tcp, tls, request not reached\n"), "{text}");
        assert!(text.contains("  skipped  clock         no answer\n"), "{text}");
        let table = "profile  result  why\ndefault  ok\nhips     FAILED  dns: no such name\n";
        assert!(text.contains(table), "{text}");
        let coloured = report.to_text(Paint::Colour);
        assert!(coloured.contains("\u{1b}[31mFAILED"), "{coloured}");
        report.sections.truncate(1);
        assert!(!report.to_text(Paint::Plain).contains("result"), "one profile needs no table");
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let text = report(vec![Finding::ok("a\u{1b}[2J\r\nb\u{9b}é")]).to_text(Paint::Plain);
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
