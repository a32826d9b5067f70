//
#pragma once
