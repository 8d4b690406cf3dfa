"""What a comparison of choices shows: tables in the terminal, and a page."""


def show_comparison(result, *, page):
    print(result["tables"])


def write_comparison(folder, result):
    return folder
