// SPDX-License-Identifier: Apache-2.0
#include "app/run.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <system_error>

#include "app/commands.hpp"
#include "app/exit_code.hpp"
#include "app/version.hpp"
#include "aws/client.hpp"
#include "core/log.hpp"
#include "worker/protocol.hpp"
#include "worker/server.hpp"

namespace amilift::app {
namespace {

int to_int(ExitCode code) {
    return static_cast<int>(code);
}

struct Options {
    AgentOptions agent;
    ImageOptions image;
    InspectOptions inspect;
    ValidateOptions validate;
    CleanupOptions cleanup;
    bool debug = false;
    bool version_json = false;
};

void add_conversion_arguments(CLI::App& command, ImageOptions& image) {
    command.add_option("--job", image.job, "a job file; what it says of the conversion is used");
    command.add_option("--size", image.size,
                       "20GiB: size of the new disk, which the filesystem is grown to");
    command
        .add_option("--platform", image.platform,
                    "nitro or xen: refuse what cannot run there; else as the job says")
        ->check(CLI::IsMember({"nitro", "xen"}));
    command.add_flag("--verify-copy", image.verify_copy,
                     "read the copy back and compare it with what was read of the source");
}

void add_image_arguments(CLI::App& command, ImageOptions& image) {
    command.add_option("--source", image.source, "disk image or block device; never written")
        ->required();
    command.add_flag("--json", image.json, "print one JSON document on standard output");
}

/// A result that did not get out is no success, whatever the command says: a full disk shows only
/// now.
int with_output(int code) {
    errno = 0;
    const bool flushed = std::fflush(stdout) == 0;
    const int saved = errno;
    if (flushed && std::ferror(stdout) == 0) return code;
    (void)std::fprintf(stderr, "amilift: cannot write to standard output: %s\n",
                       saved == 0 ? "an earlier write failed" : std::strerror(saved));
    return to_int(ExitCode::io_error);
}

int dispatch(int argc, char** argv) {
    Options o;
    CLI::App app{"amilift moves old Amazon Machine Images to today's EC2"};
    app.require_subcommand(1);
    app.failure_message(CLI::FailureMessage::simple);
    app.add_flag("--debug", o.debug, "say more on standard error");

    auto* agent = app.add_subcommand("agent", "do the job of this instance's user-data");
    agent->add_flag("--throwaway", o.agent.throwaway,
                    "this instance exists for the job only: end it as the job says, also when "
                    "there is no job");
    agent
        ->add_option("--console", o.agent.console,
                     "where to tell what happens, - is standard output")
        ->capture_default_str();
    agent->add_option("--state-dir", o.agent.state_directory, "where the job's record is kept")
        ->capture_default_str();
    agent->add_option("--runtime-dir", o.agent.runtime_directory, "where status.json is written")
        ->capture_default_str();
    agent->add_option("--imds", o.agent.imds_url,
                      "URL of the metadata service, if not http://169.254.169.254");
    agent->add_option("--endpoint", o.agent.endpoints,
                      "SERVICE=URL, where a service answers unless the job says otherwise");
    agent
        ->add_option("--api-timeout", o.agent.api_timeout_seconds,
                     "shortens the seconds for which a call that fails in passing is repeated")
        ->check(CLI::Range(1, static_cast<int>(aws::kLongestCall.count())))
        ->capture_default_str();

    auto* convert = app.add_subcommand("convert", "convert a local disk image");
    add_image_arguments(*convert, o.image);
    convert->add_option("--output", o.image.output, "new disk image, or a block device")
        ->required();
    add_conversion_arguments(*convert, o.image);

    auto* plan = app.add_subcommand("plan", "print the steps of a conversion, change nothing");
    add_image_arguments(*plan, o.image);
    add_conversion_arguments(*plan, o.image);

    auto* inspect = app.add_subcommand("inspect", "print what an image is and where it can run");
    inspect
        ->add_option("source,--source", o.inspect.source,
                     "disk image or block device, never written; or ami-..., on an EC2 instance")
        ->required();
    inspect->add_option("--platform", o.inspect.platform, "the one that the exit code is about")
        ->check(CLI::IsMember({"pv", "xen", "nitro", "nitro-uefi"}))
        ->capture_default_str();
    inspect->add_option("--html", o.inspect.html, "write a page with all of it to this file");
    inspect->add_option("--endpoint", o.inspect.endpoint, "of an AMI: URL of the EC2 endpoint");
    inspect->add_option("--imds", o.inspect.imds_url,
                        "of an AMI: URL of the metadata service, if not http://169.254.169.254");
    inspect->add_flag("--json", o.inspect.json, "print one JSON document on standard output");

    auto* validate = app.add_subcommand("validate", "check a job file, or user-data");
    validate->add_option("job", o.validate.job, "file, - is standard input")->required();
    validate->add_flag("--json", o.validate.json, "print one JSON document on standard output");

    auto* cleanup = app.add_subcommand("cleanup", "remove what a job left behind in the account");
    cleanup->add_option("--job", o.cleanup.job_id, "value of the tag amilift:job")->required();
    cleanup->add_option("--region", o.cleanup.region,
                        "AWS region; else AWS_REGION, else this instance's");
    cleanup->add_option("--endpoint", o.cleanup.endpoint, "URL of the EC2 endpoint");
    cleanup->add_flag("--dry-run", o.cleanup.dry_run, "only say what would be removed");
    cleanup->add_flag("--json", o.cleanup.json, "print one JSON document on standard output");

    auto* version = app.add_subcommand("version", "print the version");
    version->add_flag("--json", o.version_json, "print one JSON document on standard output");

    // Started by the agent, `plan` and `inspect`, with a socket as descriptor 3
    // (worker/protocol.hpp).
    auto* disk_worker = app.add_subcommand("disk-worker", "")->group("");

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? with_output(to_int(ExitCode::ok)) : to_int(ExitCode::usage);
    }
    core::enable_debug_log(o.debug);

    // The agent's result is an AMI and its tags: what it prints is told elsewhere too.
    if (agent->parsed()) return to_int(run_agent(o.agent));
    if (convert->parsed()) return with_output(to_int(run_convert(o.image)));
    if (plan->parsed()) return with_output(to_int(run_plan(o.image)));
    if (inspect->parsed()) return with_output(to_int(run_inspect(o.inspect)));
    if (validate->parsed()) return with_output(to_int(run_validate(o.validate)));
    if (cleanup->parsed()) return with_output(to_int(run_cleanup(o.cleanup)));
    if (disk_worker->parsed())
        return worker::run_disk_worker({.socket_fd = worker::kWorkerSocket,
                                        .journal_fd = worker::kWorkerJournal,
                                        .disk_fd = worker::kWorkerDisk});
    if (o.version_json) {
        fmt::print("{{\"version\": \"{}\"}}\n", kVersion);
    } else {
        fmt::print("amilift {}\n", kVersion);
    }
    return with_output(to_int(ExitCode::ok));
}

}  // namespace

int run(int argc, char** argv) {
    // Libraries' exceptions are turned into errors where each is wrapped; what still arrives here
    // is out of memory, or a bug.
    try {
        return dispatch(argc, argv);
    } catch (const std::system_error& e) {
        // fmt::print() gives up so when standard output or standard error takes nothing more.
        (void)std::fprintf(stderr, "amilift: %s\n", e.what());
        return to_int(ExitCode::io_error);
    } catch (const std::exception& e) {
        (void)std::fprintf(stderr, "amilift: unexpected failure: %s\n", e.what());
        return to_int(ExitCode::internal);
    }
}

}  // namespace amilift::app
