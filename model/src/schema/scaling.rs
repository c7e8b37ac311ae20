//! Pools that grow and shrink by themselves, backups of the configuration, and what is done at a time of its own.

use super::common::U32;
use super::rule::in_order;
use crate::Problem;
use crate::field::{Message, Type};
use crate::field::{flag, int, list, message, one_of, refers, text};
use crate::kind::{Kind, Object, Scope};

static SCHEDULE: Message = Message {
    name: "ScheduledScaling",
    fields: &[
        int("autoscaling_duration", &[(1, 24)]).unit("h"),
        text("cron_expression"),
        int("desired_capacity", U32),
        flag("enable"),
        text("end_date"),
        int("schedule_max_step", U32).or_int(1),
        text("start_date"),
    ],
};

/// The kinds of this file.
pub(super) static KINDS: &[&Kind] = &[&POLICY, &LAUNCH, &BACKUPS, &BACKUP, &SCHEDULER];

/// When a pool grows and shrinks.
static POLICY: Kind = Kind {
    path: "serverautoscalepolicy",
    name: "ServerAutoScalePolicy",
    permission: "PERMISSION_AUTOSCALE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[sizes_stand_in_order],
    fields: &[
        text("name").required(),
        int("delay_for_server_garbage_collection", U32).unit("min"),
        flag("intelligent_autoscale").or_false(),
        int("intelligent_scalein_margin", &[(1, 99)]).or_int(40).unit("%"),
        int("intelligent_scaleout_margin", &[(1, 99)]).or_int(20).unit("%"),
        int("max_scalein_adjustment_step", U32).or_int(1),
        int("max_scaleout_adjustment_step", U32).or_int(1),
        int("max_size", &[(0, 400)]),
        int("min_size", &[(0, 400)]),
        list("scalein_alertconfig_refs", &Type::Ref("alertconfig"), 64),
        int("scalein_cooldown", U32).or_int(300).unit("s"),
        list("scaleout_alertconfig_refs", &Type::Ref("alertconfig"), 64),
        int("scaleout_cooldown", U32).or_int(300).unit("s"),
        list("scheduled_scalings", &Type::Message(&SCHEDULE), 1),
        flag("use_predicted_load").or_false(),
    ],
};

fn sizes_stand_in_order(policy: &Object, problems: &mut Vec<Problem>) {
    in_order(policy, "min_size", "max_size", problems);
}

static MESOS: Message = Message { name: "AutoScaleMesosSettings", fields: &[flag("force").or_true()] };

static OPENSTACK: Message = Message {
    name: "AutoScaleOpenStackSettings",
    fields: &[text("heat_scale_down_url"), text("heat_scale_up_url")],
};

/// How a server is started.
static LAUNCH: Kind = Kind {
    path: "autoscalelaunchconfig",
    name: "AutoScaleLaunchConfig",
    permission: "PERMISSION_AUTOSCALE",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        text("image_id"),
        message("mesos", &MESOS),
        message("openstack", &OPENSTACK),
        flag("use_external_asg").or_true(),
    ],
};

/// Where backups go.
static BACKUPS: Kind = Kind {
    path: "backupconfiguration",
    name: "BackupConfiguration",
    permission: "PERMISSION_CONTROLLER",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        text("aws_access_key").secret(),
        text("aws_bucket_id"),
        text("aws_bucket_region"),
        text("aws_secret_access").secret(),
        text("backup_file_prefix"),
        text("backup_passphrase").secret(),
        flag("bundle_mode"),
        refers("known_hosts_file_ref", "fileobject"),
        int("maximum_backups_stored", &[(1, 20)]).or_int(4),
        text("remote_directory"),
        one_of("remote_file_transfer_protocol", &["SCP", "SFTP"]).or_text("SCP"),
        text("remote_hostname"),
        text("s3_bucket_folder"),
        flag("save_local"),
        refers("ssh_user_ref", "cloudconnectoruser"),
        flag("upload_to_remote_host"),
        flag("upload_to_s3"),
    ],
};

/// A backup that was made.
static BACKUP: Kind = Kind {
    path: "backup",
    name: "Backup",
    permission: "PERMISSION_CONTROLLER",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        refers("backup_config_ref", "backupconfiguration"),
        text("file_name").required(),
        text("local_file_url"),
        text("remote_file_url"),
        refers("scheduler_ref", "scheduler"),
        text("timestamp"),
    ],
};

/// What is done at a time, or again and again.
static SCHEDULER: Kind = Kind {
    path: "scheduler",
    name: "Scheduler",
    permission: "PERMISSION_CONTROLLER",
    scope: Scope::Tenant,
    dropped: &[],
    rules: &[],
    fields: &[
        text("name").required(),
        refers("backup_config_ref", "backupconfiguration"),
        flag("enabled").or_true(),
        text("end_date_time"),
        int("frequency", &[(0, 60)]),
        one_of(
            "frequency_unit",
            &[
                "SCHEDULER_FREQUENCY_UNIT_MIN",
                "SCHEDULER_FREQUENCY_UNIT_HOUR",
                "SCHEDULER_FREQUENCY_UNIT_DAY",
                "SCHEDULER_FREQUENCY_UNIT_WEEK",
                "SCHEDULER_FREQUENCY_UNIT_MONTH",
            ],
        ),
        one_of("run_mode", &["RUN_MODE_PERIODIC", "RUN_MODE_AT", "RUN_MODE_NOW"]),
        refers("run_script_ref", "alertscriptconfig"),
        one_of("scheduler_action", &["SCHEDULER_ACTION_RUN_A_SCRIPT", "SCHEDULER_ACTION_BACKUP"])
            .or_text("SCHEDULER_ACTION_BACKUP"),
        text("start_date_time"),
    ],
};
