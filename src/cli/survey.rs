//! `s3proxy check --hips`.

use clap::Args;

use crate::check::{SurveyPlace, check_survey};
use crate::cli::progress::ProgressLine;
use crate::cli::{BAD_CONFIGURATION, FAILED, SUCCESS, block_on, print, print_error};
use crate::config::Loaded;
use crate::terminal::Paint;

/// Options of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckOptions {
    /// PROFILE@BUCKET/KEY or the URL of an object, or PROFILE; without it every profile is tested
    #[arg(value_name = "OBJECT")]
    pub(super) object: Option<String>,
    /// Check a HiPS survey before its release: PROFILE@BUCKET/PREFIX/, or a folder on this machine such as ./survey
    #[arg(long, requires = "object")]
    pub(super) hips: bool,
    /// How many tiles of the survey are asked for, about
    #[arg(long, value_name = "NUMBER", requires = "hips", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    samples: u32,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn check_hips(loaded: &Loaded, options: &CheckOptions, paint: Paint) -> u8 {
    let argument = options.object.as_deref().unwrap_or_default();
    let place = SurveyPlace::of(argument);
    if let SurveyPlace::Bucket(argument) = &place
        && !argument.contains('/')
    {
        print_error(&format!(
            "s3proxy: {argument}: a survey is PROFILE@BUCKET/PREFIX/, or a folder such as ./survey\n"
        ));
        return BAD_CONFIGURATION;
    }
    let samples = usize::try_from(options.samples).unwrap_or(usize::MAX);
    block_on(async {
        let line = ProgressLine::start();
        let show = |done: usize, total: usize| line.show(done as u64, total as u64);
        let report = check_survey(&loaded.config, &place, samples, &show).await;
        line.clear();
        print(&if options.json { report.to_json() } else { report.to_text(paint) });
        if report.is_well() { SUCCESS } else { FAILED }
    })
}
