"""Makes the parser of BERT's recipes, which takes 0.2 s: ranks are forked from a process that has it."""

from pipeline.config import parser, recipe_class

parser(recipe_class("bert"))
