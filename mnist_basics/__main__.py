"""The command `mnist-basics`, and `python -m mnist_basics`; written by hand."""

import sys


def main():
    "Run the command, or say in one sentence why it cannot even begin."
    try:
        from mnist_basics.workshop.command import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    except (Exception, SystemExit) as error:  # Typer is all that it imports
        remedy = f'"{sys.executable}" -m pip install --force-reinstall typer'
        sys.exit(f"mnist-basics: typer cannot be imported ({error}). {remedy}")
    run()


if __name__ == "__main__":
    main()
