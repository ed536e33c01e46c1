"""The local AWS stack: starts ministack, deploys infra/template.yaml into it, ends both.

Runs in ministack's own Python environment; scripts/stack sees to that and documents the commands.
"""

import argparse
import functools
import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "infra" / "template.yaml"
STACK = "syncline"
BUCKET = "syncline-artifacts"
REGION = "us-east-1"
READY_SECONDS_MAX = 60
# What ministack does not have.
LOCAL_PARAMETERS = {"SilenceAlarm": "DISABLED"}
DEPLOY_SECONDS_MAX = 60
END_SECONDS_MAX = 5
START_TRIES_MAX = 5


class Problem(Exception):
    """Something the caller can do something about; its text is all that is shown."""


def main():
    arguments = parse_arguments()
    try:
        arguments.command(arguments)
    except Problem as problem:
        sys.exit(f"error: {problem}")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/stack")
    commands = parser.add_subparsers(required=True)

    commands.add_parser("expand").set_defaults(command=expand)

    def command(name, function, deploys):
        sub = commands.add_parser(name)
        sub.set_defaults(command=function)
        sub.add_argument("dir", type=pathlib.Path)
        if deploys:
            sub.add_argument("--zips", type=pathlib.Path, required=name == "deploy")
            sub.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE")
        return sub

    starting = command("start", start, deploys=True)
    starting.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    starting.add_argument("--owner", type=int, default=0, metavar="PID")
    command("deploy", deploy, deploys=True)
    command("stop", stop, deploys=False)
    serving = command("serve", serve, deploys=False)
    serving.add_argument("--owner", type=int, default=0)
    return parser.parse_args()


# --- start


def start(arguments):
    arguments.dir.mkdir(parents=True, exist_ok=True)
    arguments.dir = arguments.dir.resolve()
    state = read_state(arguments.dir)
    if state is None or not members(state["pid"]):
        state = launch(arguments)
        write_state(arguments.dir, state)
    if arguments.zips:
        deploy(arguments)
    else:
        print(json.dumps(state, indent=2))


def launch(arguments):
    variables = pairs(arguments.env, "--env")
    for _ in range(START_TRIES_MAX):
        port = free_port()
        process = spawn(arguments, port, variables)
        if wait_until_ready(process, port):
            return description(process.pid, port)
    log = (arguments.dir / "stack.log").read_text(errors="replace").splitlines()[-20:]
    raise Problem("\n".join(["the local AWS stack did not start; the end of its log:", *log]))


def spawn(arguments, port, variables):
    scratch = arguments.dir / "tmp"
    scratch.mkdir(exist_ok=True)
    environment = dict(os.environ)
    # An AWS profile of the person at the keyboard has no business in here.
    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]
    environment |= variables | client_environment(port)
    environment |= {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "TMPDIR": str(scratch),
        "LOG_LEVEL": "WARNING",
    }
    with open(arguments.dir / "stack.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, __file__, "serve", str(arguments.dir), "--owner", str(arguments.owner)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=arguments.dir,
            env=environment,
            # A group of its own: ending the group ends the functions with it.
            start_new_session=True,
        )


def wait_until_ready(process, port):
    """Returns whether it answers; False once it has ended, as when another took its port."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    end_group(process.pid)
    return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def client_environment(port):
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def description(pid, port):
    environment = client_environment(port)
    return {"endpoint": environment["AWS_ENDPOINT_URL"], "pid": pid, "environment": environment}


# --- deploy


def deploy(arguments):
    arguments.dir = arguments.dir.resolve()
    state = read_state(arguments.dir)
    if state is None or not members(state["pid"]):
        raise Problem(f"no stack runs in {arguments.dir}; run: scripts/stack start {arguments.dir}")
    client = clients(state["environment"])
    # Parameters of earlier deployments are kept unless they are given again.
    given = state.get("parameters", {}) | pairs(arguments.parameter, "--parameter")
    parameters = LOCAL_PARAMETERS | given
    template = packaged_template(client("s3"), arguments.zips)
    body = json.dumps(with_numbers(template, parameters))
    outputs = apply_template(client("cloudformation"), body, parameters)
    state |= {"stack": STACK, "parameters": given, "outputs": outputs}
    write_state(arguments.dir, state)
    print(json.dumps(state, indent=2))


def clients(environment):
    import boto3
    from botocore.config import Config

    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    config = Config(connect_timeout=5, read_timeout=60, s3={"addressing_style": "path"})
    return functools.partial(session.client, endpoint_url=environment["AWS_ENDPOINT_URL"], config=config)


def packaged_template(s3, zips):
    """Does what `sam package` does: uploads each zip and names it in the template."""
    s3.create_bucket(Bucket=BUCKET)
    return template_with_code(lambda function: upload(s3, zips / function / "bootstrap.zip"))


def template_with_code(key_of):
    from samtranslator.yaml_helper import yaml_parse

    template = yaml_parse(TEMPLATE.read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            function = pathlib.PurePath(resource["Properties"]["CodeUri"]).parent.name
            resource["Properties"]["CodeUri"] = {"Bucket": BUCKET, "Key": key_of(function)}
    return template


def with_numbers(template, parameters):
    """Writes the parameters that are numbers into the resources: ministack would hand them over as text."""
    numbers = {
        name: int(parameters.get(name, declared["Default"]))
        for name, declared in template["Parameters"].items()
        if declared["Type"] == "Number"
    }

    def written(node):
        if isinstance(node, dict):
            if set(node) == {"Ref"} and node["Ref"] in numbers:
                return numbers[node["Ref"]]
            return {key: written(value) for key, value in node.items()}
        return [written(value) for value in node] if isinstance(node, list) else node

    return template | {"Resources": written(template["Resources"])}


def upload(s3, path):
    """Stores the zip under its content's name, so that a deployment replaces only what changed."""
    if not path.is_file():
        raise Problem(f"{path} is missing; run: scripts/package-functions")
    content = path.read_bytes()
    key = f"{path.parent.name}/{hashlib.sha256(content).hexdigest()}.zip"
    s3.put_object(Bucket=BUCKET, Key=key, Body=content)
    return key


def apply_template(cloudformation, body, parameters):
    from botocore.exceptions import ClientError

    request = {
        "StackName": STACK,
        "TemplateBody": body,
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    status = stack_status(cloudformation)
    # A stack that failed to be created can only be deleted.
    if status == "ROLLBACK_COMPLETE":
        cloudformation.delete_stack(StackName=STACK)
        status = None
    try:
        if status in (None, "DELETE_COMPLETE"):
            cloudformation.create_stack(**request)
        else:
            cloudformation.update_stack(**request)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise Problem(f"the template was refused: {error}") from error
    return outputs_when_complete(cloudformation)


def stack_status(cloudformation):
    stacks = cloudformation.describe_stacks()["Stacks"]
    return next((stack["StackStatus"] for stack in stacks if stack["StackName"] == STACK), None)


def outputs_when_complete(cloudformation):
    deadline = time.monotonic() + DEPLOY_SECONDS_MAX
    while time.monotonic() < deadline:
        stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        if stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        if "IN_PROGRESS" not in stack["StackStatus"]:
            break
        time.sleep(0.1)
    reasons = [
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
        if "FAILED" in event["ResourceStatus"] and event.get("ResourceStatusReason")
    ]
    raise Problem("\n".join([f"the deployment ended as {stack['StackStatus']}", *reasons]))


# --- expand


def expand(_arguments):
    """Prints what CloudFormation makes of the template, for the linter; nothing is running."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.translator.transform import transform

    class NoManagedPolicies:
        def load(self):
            return {}

    try:
        template = transform(template_with_code(lambda function: function), {}, NoManagedPolicies())
    except InvalidDocumentException as error:
        raise Problem("\n".join(cause.message for cause in error.causes)) from error
    print(json.dumps(template, indent=2))


# --- stop


def stop(arguments):
    arguments.dir = arguments.dir.resolve()
    state = read_state(arguments.dir)
    if state is None:
        return
    end_group(state["pid"])
    state_file(arguments.dir).unlink(missing_ok=True)


def end_group(pid):
    """Ends the emulator and the functions it started, politely first."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + END_SECONDS_MAX
        for member in members(pid):
            try:
                os.kill(member, how)
            except ProcessLookupError:
                pass
        while members(pid):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return
    raise Problem(f"the processes of group {pid} do not end")


def members(group):
    """Returns the living processes of a group, if it is one of ours: ids are used again."""
    table = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat=,command="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 3) for line in table.splitlines()]
    alive = [row for row in rows if len(row) == 4 and row[1] == str(group) and not row[2].startswith("Z")]
    ours = any("stack.py" in row[3] or "bootstrap" in row[3] for row in alive)
    return [int(row[0]) for row in alive] if ours else []


# --- the emulator's own process


def serve(arguments):
    keep_function_logs(arguments.dir / "functions.log")
    if arguments.owner:
        threading.Thread(target=end_with, args=(arguments.owner,), daemon=True).start()
    from ministack.app import main as ministack

    sys.argv = ["ministack"]
    ministack()


def keep_function_logs(path):
    """Writes what functions say to a file too: ministack keeps it only until the call returns."""
    from ministack.core.lambda_runtime import ProvidedWorker

    pump = ProvidedWorker._pump_output
    log = open(path, "ab", buffering=0)

    class Tee:
        def __init__(self, stream):
            self.stream = stream

        def readline(self):
            line = self.stream.readline()
            log.write(line)
            return line

        def close(self):
            self.stream.close()

    ProvidedWorker._pump_output = lambda self, stream, queue: pump(self, Tee(stream), queue)


def end_with(owner):
    while True:
        time.sleep(0.5)
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            os.killpg(os.getpgid(0), signal.SIGKILL)
        except PermissionError:
            pass


# --- what is remembered in the folder


def state_file(folder):
    return folder / "stack.json"


def read_state(folder):
    try:
        return json.loads(state_file(folder).read_text())
    except FileNotFoundError:
        return None


def write_state(folder, state):
    state_file(folder).write_text(json.dumps(state, indent=2))


def pairs(words, option):
    for word in words:
        if "=" not in word:
            raise Problem(f"{option} {word}: it must be NAME=VALUE")
    return dict(word.split("=", 1) for word in words)


if __name__ == "__main__":
    main()
