// What it is.
#pragma once
