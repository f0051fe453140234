#!/bin/sh
# Turns docs/CLI.md into the man page ruse(1), so that there is one text. It knows what CLI.md uses and no more:
# headings, paragraphs, fenced code, `code`, and lists whose items are a `term` with indented text under it.
#
# usage: man.sh CLI.md VERSION >ruse.1
set -eu

awk -v version="$2" '
function escape(text) {
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	return text
}
# `code` becomes bold.
function inline(text,    out, parts, count, i) {
	count = split(text, parts, "`")
	out = ""
	for (i = 1; i <= count; i++)
		out = out (i % 2 ? escape(parts[i]) : "\\fB" escape(parts[i]) "\\fP")
	if (out ~ /^[.\x27]/)
		out = "\\&" out
	return out
}
/^```/ { print code ? ".fi\n.RE" : ".PP\n.RS\n.nf"; code = !code; next }
code { text = escape($0); if (text ~ /^[.\x27]/) text = "\\&" text; print text; next }
/^# / {
	title = substr($0, 3)
	split(title, name, " - ")
	print ".\\\" Made from docs/CLI.md by docs/man.sh."
	print ".TH RUSE 1 \"\" \"ruse " version "\" \"User Commands\""
	print ".SH NAME\n" escape(name[1]) " \\- " escape(name[2])
	next
}
/^## / { print ".SH " escape(substr($0, 4)); fresh = 1; paragraph = 0; next }
/^- / { print ".TP\n" inline(substr($0, 3)); fresh = 1; paragraph = 0; next }
/^$/ { if (!fresh) paragraph = 1; next }
{
	if (paragraph && !/^  /)
		print ".PP"
	paragraph = fresh = 0
	sub(/^ +/, "")
	print inline($0)
}
' "$1"
