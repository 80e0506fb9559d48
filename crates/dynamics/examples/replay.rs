//! Replays the steps of runs through a fresh dynamics model and prints how well it forecast them.
//!
//! `cargo run --release -p neat-dynamics --example replay -- [-s SETTINGS] events.jsonl ...`

use std::time::Instant;

use neat_dynamics::{Dynamics, Observation, Settings};

/// Steps of one token.
const TOKEN: usize = 10;

/// `[step, loss, lr, grad_norm]` of each step event of a run.
fn steps(path: &str) -> Vec<[f64; 4]> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let events = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let number = |event: &serde_json::Value, key: &str| event[key].as_f64();
    events
        .filter(|event| event["type"] == "step")
        .filter_map(|e| {
            let names = ["step", "train/loss", "optim/lr", "optim/grad_norm"];
            let values: Option<Vec<f64>> = names.iter().map(|name| number(&e, name)).collect();
            values.and_then(|values| values.try_into().ok())
        })
        .collect()
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut settings = r#"{"kinds": []}"#.to_owned();
    if arguments.first().is_some_and(|first| first == "-s") {
        settings = arguments.remove(1);
        arguments.remove(0);
    }
    let settings = Settings::from_json(&settings).unwrap_or_else(|error| panic!("{error}"));
    println!(
        "fit, model/fit, corrected/fit: mean absolute error by horizon; coverage of {}",
        settings.interval
    );
    let mut ratios: Vec<[f64; 3]> = Vec::new();
    for path in &arguments {
        let steps = steps(path);
        let most = steps.iter().map(|step| step[2]).fold(f64::MIN_POSITIVE, f64::max);
        let mut model = Dynamics::new(settings.clone());
        let begin = Instant::now();
        for end in (TOKEN..=steps.len()).step_by(TOKEN) {
            let token = &steps[end - TOKEN..end];
            let mean = |column: usize| token.iter().map(|step| step[column]).sum::<f64>() / TOKEN as f64;
            let lr = |index: usize| steps[index.min(steps.len() - 1)][2] / most;
            let ahead: Vec<f64> = settings.horizons.iter().map(|&h| lr(end - 1 + h as usize)).collect();
            let observation = Observation {
                step: steps[end - 1][0] as u64,
                loss: mean(1),
                grad_norm: mean(3),
                lr: lr(end - 1),
                lr_ahead: &ahead,
                ..Observation::default()
            };
            model.observe(&observation).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        let per_token = begin.elapsed().as_secs_f64() * 1e3 * TOKEN as f64 / steps.len().max(1) as f64;
        let accuracy = model.accuracy();
        let list =
            |values: Vec<f64>| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(" ");
        let error = |which: usize| accuracy.errors[which].iter().map(|e| e.unwrap_or(f64::NAN));
        let ratio = |which| error(which).zip(error(1)).map(|(a, b)| a / b).collect::<Vec<_>>();
        for (index, coverage) in accuracy.coverage.iter().enumerate() {
            ratios.push([ratio(0)[index], ratio(2)[index], coverage.unwrap_or(f64::NAN)]);
        }
        let coverage = accuracy.coverage.iter().map(|share| share.unwrap_or(f64::NAN)).collect();
        println!(
            "{path}: n={} fit {} | model/fit {} | corrected/fit {} | coverage {} | {per_token:.2} ms a token",
            accuracy.count[0],
            list(error(1).collect()),
            list(ratio(0)),
            list(ratio(2)),
            list(coverage),
        );
    }
    for (index, horizon) in settings.horizons.iter().enumerate() {
        let rows: Vec<&[f64; 3]> = ratios.iter().skip(index).step_by(settings.horizons.len()).collect();
        let mean = |column: usize| rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64;
        let worst = rows.iter().map(|row| row[0]).fold(0.0, f64::max);
        let gap = rows.iter().map(|row| (row[2] - settings.interval).abs()).fold(0.0, f64::max);
        println!(
            "{horizon} steps: model/fit {:.4} (worst {worst:.4}), corrected/fit {:.4}, coverage {:.4} (worst gap {gap:.4})",
            mean(0),
            mean(1),
            mean(2)
        );
    }
}
