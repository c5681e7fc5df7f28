"""What people see in a terminal: tables that fit it, progress, errors, drawn stacks and images.

Where the output is no terminal everything is plain text, the whole of it; nothing here is imported
before something is shown, since rich takes some 50 ms.
"""
