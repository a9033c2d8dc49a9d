"""tandem-conform - does a program keep tandem's protocol?

usage: tandem-conform [options] COMMAND [ARGS...]
       tandem-conform --host [options] COMMAND [ARGS...]
       tandem-conform --fake-worker [FAULTS...]

The first form starts COMMAND again and again as a server on stdin and stdout (a worker, or a whole
tandem), asks it golden frames, and plays a host on its bad days: bytes one by one, lines of 100 MB, 10,000
cancels, one that does not read. The second starts COMMAND as a host whose server, named by TANDEM in its
environment, is a scripted one with faults. The third is that server, for tests of your own:
`tandem-conform --fake-worker --help` lists its faults.

One line a check, as TAP has it: `ok`, `not ok` with the cause, `ok … # skip` with the reason.
Exit: 0 all held, 1 some did not, 64 bad command line, 69 it does not even answer `initialize`.
"""
import argparse
import os
import sys

EX_OK, EX_FAILED, EX_USAGE, EX_UNAVAILABLE = 0, 1, 64, 69
DEFAULT_MODEL = "models/novel-7m"


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tandem-conform", description=__doc__, usage=argparse.SUPPRESS,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: (print(f"tandem-conform: {message}", file=sys.stderr), sys.exit(EX_USAGE))
    parser.add_argument("--host", action="store_true", help="COMMAND is a host")
    parser.add_argument("--model", metavar="PATH", help=f"local_path of the model to load ({DEFAULT_MODEL} if there)")
    parser.add_argument("--patience", metavar="SECONDS", type=float, default=30,
                        help="for each thing that must happen (30)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only checks whose name holds it")
    parser.add_argument("--list", action="store_true", help="name the checks and try none")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    args = parser.parse_args()
    if args.command[:1] == ["--"]:
        del args.command[0]
    if not args.command and not args.list:
        parser.error("which command? see --help")
    if not args.model and os.path.isdir(DEFAULT_MODEL):
        args.model = DEFAULT_MODEL
    return args


def run(checks, args):
    from checks import Skip
    from pipe import Broken
    n = n_failed = n_skipped = 0
    for name, function in checks:
        if args.only not in name:
            continue
        n += 1
        try:
            if not args.list:
                function()
            print(f"ok {n} - {name}", flush=True)
        except Skip as why:
            n_skipped += 1
            print(f"ok {n} - {name} # skip {why}", flush=True)
        except Broken as why:
            n_failed += 1
            print(f"not ok {n} - {name}: {why}", flush=True)
        except (LookupError, TypeError, AttributeError, ValueError) as why:
            n_failed += 1
            what = f"it has no {why}" if isinstance(why, KeyError) else why
            print(f"not ok {n} - {name}: what came has not the shape that protocol.md gives it: {what}", flush=True)
    print(f"1..{n}\n# {n - n_failed - n_skipped} held, {n_failed} did not, {n_skipped} skipped")
    return EX_FAILED if n_failed else EX_OK


def main():
    if sys.argv[1:2] == ["--fake-worker"]:
        import fake_worker
        return fake_worker.main()
    args = parse_arguments()
    from checks import Subject, server_checks
    from host_checks import host_checks
    from pipe import Broken
    if args.host:
        return run(host_checks(args.command, args.patience), args)
    subject = Subject(args.command, args.model, args.patience)
    if not args.list:
        try:
            subject.get_to_know()
        except (Broken, LookupError, TypeError, AttributeError, ValueError) as why:
            print(f"Bail out! initialize: {why}")
            return EX_UNAVAILABLE
    return run(server_checks(subject), args)


if __name__ == "__main__":
    sys.exit(main())
