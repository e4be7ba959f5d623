//! Changes of log levels that a request asks for (`RuntimeLoggerManager`).

use ottla_config::AlterOp;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use tracing::{error, warn};

use crate::config_changes::Refusal;
use crate::log_levels::{LogLevel, LogLevels, ROOT};

/// Checks all changes of a node's loggers, then makes them unless they are only to be checked.
///
/// # Errors
/// `INVALID_REQUEST`: the operation is none that loggers have, or would leave the root logger without a level.
/// `INVALID_CONFIG`: there is no such logger or level.
pub(crate) fn change(
    levels: &LogLevels,
    changes: &[AlterableConfig<'_>],
    validate_only: bool,
) -> Result<(), Refusal> {
    let checked = changes.iter().map(|change| check(levels, change)).collect::<Result<Vec<_>, _>>()?;
    if validate_only {
        return Ok(());
    }
    if let Err(reason) = levels.change(&checked) {
        error!("log levels are not changed: {reason}");
        return Err(Refusal { code: ErrorCode::UnknownServerError, text: reason });
    }
    for (logger, level) in checked {
        match level {
            Some(level) => warn!("the log level of {logger} is now {}", level.name()),
            None => warn!("the log level of {logger} is now what it inherits"),
        }
    }
    Ok(())
}

fn check<'a>(
    levels: &LogLevels,
    change: &'a AlterableConfig<'_>,
) -> Result<(&'a str, Option<LogLevel>), Refusal> {
    let name = change.name.as_ref();
    let config = |text| Refusal { code: ErrorCode::InvalidConfig, text };
    let exists = || match levels.is_known(name) {
        true => Ok(()),
        false => Err(config(format!("There is no logger {name}"))),
    };
    match AlterOp::from_id(change.config_operation) {
        Some(AlterOp::Set) => {
            exists()?;
            let value = change.value.as_deref().unwrap_or_default();
            let level = LogLevel::settable(value).ok_or_else(|| {
                let valid = LogLevel::settable_names();
                config(format!("Invalid log level {value} of logger {name}; expected one of {valid}"))
            })?;
            Ok((name, Some(level)))
        }
        Some(AlterOp::Delete) => {
            exists()?;
            if name == ROOT {
                return Err(Refusal::request("The root logger always has a log level"));
            }
            Ok((name, None))
        }
        Some(AlterOp::Append | AlterOp::Subtract) => {
            Err(Refusal::request("Log levels are no lists: nothing can be appended or subtracted"))
        }
        None => Err(Refusal::request(format!("Unknown operation type {}", change.config_operation))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: i8 = 0;
    const DELETE: i8 = 1;

    fn asked(name: &'static str, op: i8, value: Option<&'static str>) -> AlterableConfig<'static> {
        AlterableConfig { name: name.into(), config_operation: op, value: value.map(Into::into) }
    }

    fn code(result: Result<(), Refusal>) -> ErrorCode {
        result.expect_err("refused").code
    }

    #[test]
    fn all_is_checked_before_anything_changes() {
        let levels = LogLevels::default();
        let before = levels.list();
        let good = asked("ottla_net", SET, Some("DEBUG"));
        for (bad, expected) in [
            (asked("nobody", SET, Some("DEBUG")), ErrorCode::InvalidConfig),
            (asked("nobody", DELETE, None), ErrorCode::InvalidConfig),
            (asked("ottla_broker", SET, Some("debug")), ErrorCode::InvalidConfig),
            (asked("ottla_broker", SET, Some("OFF")), ErrorCode::InvalidConfig),
            (asked("root", DELETE, None), ErrorCode::InvalidRequest),
            (asked("ottla_broker", 2, Some("DEBUG")), ErrorCode::InvalidRequest),
            (asked("nobody", 3, Some("DEBUG")), ErrorCode::InvalidRequest),
            (asked("nobody", 9, Some("DEBUG")), ErrorCode::InvalidRequest),
        ] {
            assert_eq!(code(change(&levels, &[good.clone(), bad.clone()], false)), expected, "{bad:?}");
        }
        change(&levels, std::slice::from_ref(&good), true).unwrap();
        assert_eq!(levels.list(), before);
        change(&levels, &[good], false).unwrap();
        assert!(levels.list().contains(&("ottla_net".to_owned(), LogLevel::Debug)));
        change(&levels, &[asked("ottla_net", DELETE, None)], false).unwrap();
        assert_eq!(levels.list(), before);
    }

    #[test]
    fn a_log_that_cannot_change_is_an_error_of_the_server() {
        let settings = crate::LevelSettings { root: LogLevel::Info, modules: Default::default() };
        let levels = LogLevels::new(settings, |_| Err("gone".to_owned()));
        let refused = change(&levels, &[asked("root", SET, Some("WARN"))], false);
        assert_eq!(code(refused), ErrorCode::UnknownServerError);
    }
}
