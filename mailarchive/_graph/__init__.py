"""Microsoft Graph as it is spoken: for the mailboxes, and for the directory of their users."""
