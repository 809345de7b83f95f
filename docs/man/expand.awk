# SPDX-License-Identifier: MIT
#
# Expand a page of this directory to what scdoc reads: lines "@md FILE" become that Markdown file (of
# docs/, so that nothing is said twice; "@md FILE SECTION" that section of it), "@api FILE" the functions of a C header with their comments.
#
#	awk -f docs/man/expand.awk docs/man/PAGE.scd | scdoc > PAGE

function escaped(c)
{
	return c ~ /[_*\\`<>#|[\]~]/ ? "\\" c : c
}

# Markdown within a line: `code`, **bold**, *emphasis*, [text](link).
function inline(s,    i, c, out, code, bold, emph, rest)
{
	out = ""
	code = bold = emph = 0
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		rest = substr(s, i)
		if (c == "`") {
			out = out (bold ? "" : "*")
			code = !code
		} else if (code) {
			out = out escaped(c)
		} else if (substr(rest, 1, 2) == "**") {
			out = out "*"
			bold = !bold
			i++
		} else if (c == "*" && (emph || rest ~ /^\*[A-Za-z]/)) {
			out = out "_"
			emph = !emph
		} else if (c == "[" && match(rest, /^\[[^]]*\]\([^)]*\)/)) {
			link = substr(rest, 2, index(rest, "](") - 2)
			out = out inline_plain(link)
			i += RLENGTH - 1
		} else if (c == "\\" && length(rest) > 1) {
			i++
			out = out escaped(substr(s, i, 1))
		} else
			out = out escaped(c)
	}
	return out
}

# The text of a link: code in it is bold, too.
function inline_plain(s,    i, c, out)
{
	out = ""
	for (i = 1; i <= length(s); i++) {
		c = substr(s, i, 1)
		out = out (c == "`" ? "*" : escaped(c))
	}
	return out
}

# No Markdown at all.
function plain(s,    i, out)
{
	out = ""
	for (i = 1; i <= length(s); i++)
		out = out escaped(substr(s, i, 1))
	return out
}

# At the start of a line a dot or a dash would mean something.
function line_of(s)
{
	s = inline(s)
	return s ~ /^[.-]/ ? "\\" s : s
}

function blank()
{
	if (!was_blank)
		print ""
	was_blank = 1
}

function say(s)
{
	print s
	was_blank = s == ""
}

function trim(s)
{
	gsub(/^[ \t]+|[ \t]+$/, "", s)
	return s
}

# A row of a table: its first cell, and below it the others with their headings.
function row(s,    n, cell, i, text, details, first, from)
{
	gsub(/\\\|/, "\001", s)
	sub(/^\|/, "", s)
	sub(/\|[ \t]*$/, "", s)
	n = split(s, cell, "|")
	for (i = 1; i <= n; i++) {
		cell[i] = trim(cell[i])
		gsub(/\001/, "|", cell[i])
	}
	if (!heads) {
		heads = n
		for (i = 1; i <= n; i++)
			head[i] = cell[i]
		return
	}
	if (s ~ /^[-| :]*$/)
		return
	blank()
	first = line_of(cell[1])
	from = 2
	if (head[1] == "policy" && head[2] == "parameter") {
		# Two columns name it; an empty one is as above.
		if (first != "")
			family = first
		first = family " " inline(cell[2])
		from = 3
	}
	say(first == "" ? "\\-" : first)
	text = cell[n]
	if (n > 1 && text != "")
		text = (tolower(head[n]) == "meaning" || head[n] == "" ? "" : inline(head[n]) ": ") \
			line_of(text)
	else
		text = ""
	details = ""
	for (i = from; i < n; i++)
		if (cell[i] != "")
			details = details (details == "" ? "" : "; ") \
				(head[i] == "" ? "" : inline(head[i]) ": ") inline(cell[i])
	if (details != "")
		text = text (text == "" ? details : " (" details ")")
	if (text != "")
		say("\t" text)
	was_blank = 0
}

function markdown(file, section,    s, fence, verbatim, level, here)
{
	heads = fence = verbatim = 0
	here = section == ""
	while ((getline s < file) > 0) {
		if (section != "" && s ~ /^## / && !fence)
			here = s == "## " section
		if (!here)
			continue
		if (s ~ /^<!--/ || s ~ /^# /)
			continue
		if (s ~ /^```/) {
			if (!fence)
				blank()
			say("```")
			fence = !fence
			if (!fence)
				blank()
			continue
		}
		if (fence) {
			print s
			continue
		}
		if (s ~ /^    / && (verbatim || was_blank)) {
			if (!verbatim)
				say("```")
			verbatim = 1
			print substr(s, 5)
			was_blank = 0
			continue
		}
		if (verbatim) {
			say("```")
			verbatim = 0
			blank()
		}
		if (s !~ /^\|/)
			heads = 0
		if (s ~ /^##+ /) {
			level = s ~ /^## / ? "# " : "## "
			sub(/^#+ /, "", s)
			gsub(/`/, "", s)
			blank()
			say(level (level == "# " && s !~ /^\[/ ? toupper(s) : s))
			blank()
		} else if (s ~ /^\|/)
			row(s)
		else if (s ~ /^- /) {
			say("- " inline(substr(s, 3)))
		} else if (s ~ /^[0-9]+\. /) {
			sub(/^[0-9]+\. /, "", s)
			say(". " inline(s))
		} else if (s ~ /^   ?[^ ]/) # an item goes on
			say("  " inline(trim(s)))
		else if (s == "")
			blank()
		else
			say(line_of(s))
	}
	close(file)
	if (verbatim)
		say("```")
	blank()
}

# A C header: the sections, and for each comment the declarations that follow it.
function flush_api()
{
	if (decl != "" && decl ~ /amux_[a-z_]+\(/) {
		blank()
		say("```")
		printf "%s", decl
		say("```")
		blank()
		if (about != "")
			say((about ~ /^[.-]/ ? "\\" : "") plain(about))
	}
	decl = about = ""
}

function api(file,    s, text, in_comment, in_struct)
{
	about = decl = ""
	while ((getline s < file) > 0) {
		if (s ~ /^\/\* -+ .* \*\/$/) {
			flush_api()
			gsub(/[\/* -]+/, " ", s)
			blank()
			say("## " trim(s))
			blank()
			continue
		}
		if (!in_comment && s ~ /^\/\*/) {
			flush_api()
			in_comment = 1
			about = ""
		}
		if (in_comment) {
			text = s
			in_comment = s !~ /\*\//
			sub(/\*\/$/, "", text)
			sub(/^\/?[ ]?\*/, "", text)
			about = trim(about " " trim(text))
			gsub(/@/, "", about)
			continue
		}
		if (s ~ /^(struct|#define|#)/ && s !~ /\(.*\);/)
			in_struct = s ~ /\{$/
		else if (s ~ /^[a-z].*\(/ || (decl != "" && s ~ /^[ \t]/ && !in_struct)) {
			sub(/ *\/\*.*\*\//, "", s)
			gsub(/\t/, "        ", s)
			decl = decl s "\n"
		} else if (s ~ /^}/)
			in_struct = 0
	}
	close(file)
	flush_api()
	blank()
}

/^@md / { markdown($2, $3); next }
/^@api / { api($2); next }
{ say($0) }
